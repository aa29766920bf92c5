"""The whole contract in one class: each part asks the adapter for its capabilities and skips without."""

from storage.testing.differential import DifferentialContract
from storage.testing.membership import MembersContract
from storage.testing.owners import OwnersContract
from storage.testing.races import RacesContract
from storage.testing.searching import SearchingContract
from storage.testing.transactions import TransactionContract
from storage.testing.twins import TwinContract
from storage.testing.uniqueness import UniquenessContract
from storage.testing.writing import WritingContract


class StorageContract(
    WritingContract,
    UniquenessContract,
    SearchingContract,
    DifferentialContract,
    MembersContract,
    RacesContract,
    TransactionContract,
    TwinContract,
    OwnersContract,
):
    """Subclasses have a fixture `adapter`: an empty one, made by `ready`."""
