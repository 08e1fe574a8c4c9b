"""Arrays in, frozen arrays out: likelihoods, covariances, contrasts and survival curves. numpy and scipy only."""
