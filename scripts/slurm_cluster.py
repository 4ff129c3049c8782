"""Start Dask workers as SLURM jobs, print the address for `angio run --scheduler`, and hold them until stopped.

Needs the extra [cluster], and a node that the workers can reach and that reaches SLURM (`sbatch`).

    .venv/bin/python scripts/slurm_cluster.py --jobs 20 --partition short --memory 4GB --walltime 12:00:00
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from dask_jobqueue import SLURMCluster

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def make_cluster(*, partition: str, memory: str, walltime: str, cores: int = 1, **options: Any) -> SLURMCluster:
    """Return a cluster whose jobs hold one worker process of one thread for each core; no job is submitted yet."""
    return SLURMCluster(
        queue=partition,
        cores=cores,
        processes=cores,
        memory=memory,
        walltime=walltime,
        python=sys.executable,
        job_name="angio",
        job_script_prologue=[f"export {name}=1" for name in _ONE_THREAD],
        **options,
    )


def main() -> int:
    """Return 0 when it is stopped."""
    parser = argparse.ArgumentParser(description="Start Dask workers as SLURM jobs and print the scheduler's address.")
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--cores", type=int, default=1, help="workers of one thread in each job")
    parser.add_argument("--partition", required=True)
    parser.add_argument("--memory", default="4GB", help="of each job")
    parser.add_argument("--walltime", default="12:00:00")
    parser.add_argument("--interface", help="network interface that the nodes share, such as ib0")
    parser.add_argument("--print-script", action="store_true", help="print the job script and submit nothing")
    given = parser.parse_args()
    options = {} if given.interface is None else {"interface": given.interface}
    with make_cluster(
        partition=given.partition, memory=given.memory, walltime=given.walltime, cores=given.cores, **options
    ) as cluster:
        if given.print_script:
            print(cluster.job_script())
            return 0
        cluster.scale(jobs=given.jobs)
        print(cluster.scheduler_address, flush=True)
        try:
            while True:
                time.sleep(60)
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    raise SystemExit(main())
