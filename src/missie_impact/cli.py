"""The command line: missie-impact study | simulate | check | truth."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from missie_impact.errors import MissieError
from missie_impact.registers import read_registers

DONE, FAILED, INTERRUPTED = 0, 1, 130  # argparse itself ends with 2 on a wrong command
NATIONAL = 490_000
SEED = 2026
REGISTERS = "registers"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command of the command line.

    Parameters
    ----------
    arguments : the words behind ``missie-impact``; those of the process by default

    Returns
    -------
    int
        0 done; 1 an error of the library (one line on standard error), or breaches that `check` found; 2 a wrong
        command; 130 interrupted.
    """
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except MissieError as error:
        sys.stderr.write(f"missie-impact: {' '.join(str(error).split())}\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write("missie-impact: interrupted\n")
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="missie-impact",
        description="What do economic missions bring about? From firm-level trade registers to published effects.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_study(commands)
    _add_simulate(commands)
    _add_check(commands)
    _add_truth(commands)
    return parser


def _add_study(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    study = commands.add_parser(
        "study",
        help="set the published figures beside estimates from registers",
        description="Read registers, estimate R1, R2, R3 and R6 of the published list, print the table and write it to "
        "OUT as replication.json, .csv and .html. Without --registers, registers are simulated into OUT/registers "
        "first and read back from those files.",
    )
    study.add_argument("--registers", metavar="TOML", help="study.toml of your own registers")
    study.add_argument("--out", metavar="DIR", default="study-output", help="folder for the results (%(default)s)")
    _add_drawing(study)
    study.set_defaults(command=_study)


def _add_simulate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    simulate = commands.add_parser(
        "simulate",
        help="draw simulated registers and write them as files",
        description="Draw registers with a known truth and write them as a statistical office would deliver them, with "
        "a study.toml that names them. A folder that already holds the same registers is left as it is.",
    )
    simulate.add_argument("--out", metavar="DIR", default=REGISTERS, help="folder for the files (%(default)s)")
    _add_drawing(simulate)
    simulate.set_defaults(command=_simulate)


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    check = commands.add_parser(
        "check",
        help="report what is wrong with registers",
        description="Read the registers that a study.toml names and report every breach at once, in counts.",
    )
    check.add_argument("registers", metavar="TOML", help="study.toml of the registers")
    check.set_defaults(command=_check)


def _add_truth(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    truth = commands.add_parser(
        "truth",
        help="compute and store the truth of simulated registers",
        description="Compute the parameters of the generator by Monte Carlo over many national worlds and store them "
        "with their error: up to two hours. It can be stopped, and goes on where it was when WORK is kept.",
    )
    truth.add_argument("--truth", choices=("cbs_2024", "none"), default="cbs_2024", help="planted effects")
    truth.add_argument("--worlds", type=_count, metavar="N", help="number of worlds, some 20 seconds each")
    truth.add_argument("--work", metavar="DIR", help="folder of the unfinished run")
    truth.add_argument("--out", metavar="CSV", help="file to store them in, by default the one in the package")
    truth.set_defaults(command=_truth)


def _add_drawing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--firms", type=_count, metavar="N", default=NATIONAL, help="number of simulated firms (%(default)s: national)"
    )
    parser.add_argument("--seed", type=_count, metavar="N", default=SEED, help="seed of the simulation (%(default)s)")


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("expected a number of 0 or more")
    return number


def _study(options: argparse.Namespace) -> int:
    from missie_impact.study import replicate, write_report

    out = Path(options.out)
    path = Path(options.registers) if options.registers else _drawn(out / REGISTERS, options)
    with read_registers(path) as registers:
        replication = replicate(registers)
    paths = (*replication.write(out), *write_report(replication, out))
    sys.stdout.write(replication.text())
    sys.stdout.write("\nWritten: " + ", ".join(path.name for path in paths) + f" in {out}\n")
    return DONE


def _simulate(options: argparse.Namespace) -> int:
    path = _drawn(Path(options.out), options)
    sys.stdout.write(f"Simulated registers: no figure in them describes a real firm.\nRead them with {path}\n")
    return DONE


def _drawn(folder: Path, options: argparse.Namespace) -> Path:
    """Simulate registers into a folder and return its study.toml, the only thing the study is told."""
    from missie_impact.simulation.registers import simulate_registers

    simulate_registers(options.seed, out=folder, firms=options.firms).close()
    return folder / "study.toml"


def _check(options: argparse.Namespace) -> int:
    with read_registers(options.registers) as registers:
        report = registers.check()
    sys.stdout.write(f"{report}\n")
    return DONE if report.ok else FAILED


def _truth(options: argparse.Namespace) -> int:
    from missie_impact.validity import stored

    words = ["--truth", options.truth]
    for name in ("worlds", "work", "out"):
        value = getattr(options, name)
        if value is not None:
            words += [f"--{name}", str(value)]
    return stored.main(words)


if __name__ == "__main__":
    sys.exit(main())
