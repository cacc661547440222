"""kpflow: measure the operator that gradient descent induces on a network's state,
NTK_S = P K P^*.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("kpflow")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+uninstalled"
