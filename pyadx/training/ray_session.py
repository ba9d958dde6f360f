"""Ray, started on this machine or joined as a running cluster, and left again."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def check_ray(option: str) -> None:
    """Raise ``ValueError`` if Ray, which an option of the command line asks for, is not installed."""
    try:
        import ray  # noqa: F401
    except ImportError:
        raise ValueError(f"{option} needs Ray; install it with: pip install 'pyadx[ray]'") from None


@contextmanager
def ray_session(address: str | None, cpus: int) -> Iterator[Any]:
    """Yield the module ``ray``, initialised; stop or leave it at the end.

    Parameters
    ----------
    address : str, optional
        Of a running cluster; without it Ray is started on this machine.
    cpus : int
        Cores that Ray may share out on this machine.
    """
    import ray

    # Uv's and pip's environments are the workers' own business; nothing is uploaded. Processes of this
    # machine inherit how MKL rounds; a cluster is told, so that it gives the same bytes.
    rounding = os.environ.get("MKL_CBWR")
    told = {"env_vars": {"MKL_CBWR": rounding}} if address and rounding else None
    ray.init(
        address=address,
        num_cpus=None if address else cpus,
        include_dashboard=False,
        log_to_driver=False,
        ignore_reinit_error=True,
        runtime_env=told,
    )
    try:
        yield ray
    finally:
        ray.shutdown()
