"""Judge the claims of one module, or one claim: ``python -m proofs_numeric NAME``."""

from __future__ import annotations

import argparse
import sys

import proofs_numeric
from ssem_jax import claims, compute
from ssem_jax.compute import cache


def index() -> str:
    """All statements as a table of Markdown, numbered by module: what the README shows."""
    rows = ["| no. | statement | module | verdict |", "|---|---|---|---|"]
    for chapter, module in enumerate(proofs_numeric.modules(), 1):
        name = module.__name__.rpartition(".")[2]
        stated = [*claims.collect([module]), *claims.collect_theorems([module])]
        for number, claim in enumerate(stated, 1):
            statement = claim.statement.replace("|", "\\|")
            rows.append(
                f"| {chapter}.{number} | {statement} | [`{name}`]({name}.py) `{claim.name}` | "
                f"{claim.expected} |"
            )
    return "\n".join(rows)


def main() -> int:
    """0 if every verdict is as expected, 1 if not, 2 if there is no such claim."""
    parser = argparse.ArgumentParser(prog="python -m proofs_numeric", description=__doc__)
    parser.add_argument("name", nargs="?", help="a claim, or a module of claims")
    parser.add_argument("--list", action="store_true", help="list all claims")
    parser.add_argument("--index", action="store_true", help="print the index of the README")
    parser.add_argument("--size", choices=("quick", "default", "full"), default="default")
    arguments = parser.parse_args()
    modules = {module.__name__.rpartition(".")[2]: module for module in proofs_numeric.modules()}
    if arguments.index:
        print(index())
        return 0
    if arguments.list or arguments.name is None:
        for name, module in modules.items():
            print(name)
            for claim in [*claims.collect([module]), *claims.collect_theorems([module])]:
                recorded = cache.recall_verdicts().get(claim.name, "not judged yet")
                print(f"  {claim.name}: {claim.statement}")
                print(f"    expected {claim.expected}; last recorded: {recorded}")
        return 0
    wanted = [modules[arguments.name]] if arguments.name in modules else list(modules.values())

    def named(found):
        everything = arguments.name in modules
        return [claim for claim in found if everything or claim.name == arguments.name]

    chosen, theorems = named(claims.collect(wanted)), named(claims.collect_theorems(wanted))
    if not chosen and not theorems:
        print(f"no claim {arguments.name!r}; --list shows all.", file=sys.stderr)
        return 2
    compute.set_up_jax()
    report = claims.verify(chosen, theorems=theorems, size=arguments.size)
    cache.record_verdicts({j.claim.name: str(j.verdict) for j in report.judgements})
    for judgement in report.judgements:
        print(f"{judgement.claim.name}: {judgement.claim.statement}")
        print(f"  source: {judgement.claim.source}")
        facts = [f"{judgement.words} on {judgement.looked_at}"]
        if judgement.worst_gap is not None:
            facts.append(f"worst gap {judgement.worst_gap:.1e}")
        if judgement.proof is not None and judgement.proof.width is not None:
            facts.append(f"widest enclosure {judgement.proof.width:.1e}")
        print(f"  {', '.join(facts)}")
        if judgement.counterexample or judgement.reason:
            print(f"  {judgement.counterexample or judgement.reason}")
    return 0 if report.as_expected else 1


if __name__ == "__main__":
    sys.exit(main())
