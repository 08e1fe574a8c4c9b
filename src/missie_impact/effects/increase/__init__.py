"""The increase of exports: as an effect, against comparable pairs, and at what price."""
