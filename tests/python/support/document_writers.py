"""Clients that insert, update, replace and delete documents all at once, and what each document went through.

Each change raises the document's `version`, atomically, so a document's changes are known in their order without a
clock, also those whose reply was lost: from what a life began with to the last version that anybody has seen.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from bson import ObjectId
from pymongo import ReturnDocument, WriteConcern
from pymongo.errors import ConnectionFailure

if TYPE_CHECKING:
    from pymongo.collection import Collection
    from tests.python.support.feeds import Feed
    from typing_extensions import Self

# What each client does, and how often.
KINDS = {"update": 45, "insert": 20, "replace": 15, "delete": 20}
LONGEST_PAUSE = 0.012
# How many documents a client has at most; it inserts when it has few, and deletes when it has many.
OWNED = 150
# A life whose end is not known is followed by one that begins with the next of these.
ROUND = 10_000
# Of the inserts, those of an id that was deleted.
AGAIN = 0.3
# Of the deletes, those at the heels of an update, which may find no document any more.
VANISHING = 0.4


class Change(NamedTuple):
    """What happened to a document; a delete has the version that it took away.

    Attributes:
        kind: `insert`, `update` (or a replacement) or `delete`.
        version: The document's, after it; before a delete.
        is_vague: Updates before this delete may have been lost to the journal.
    """

    kind: str
    version: int
    is_vague: bool = False


@dataclass
class Life:
    """A document from its insert to its delete."""

    first: int
    last: int
    is_over: bool = False
    is_vague: bool = False

    def changes(self) -> list[Change]:
        """Its changes in their order."""
        updates = [Change("update", version) for version in range(self.first + 1, self.last + 1)]
        delete = [Change("delete", self.last, self.is_vague)] if self.is_over else []
        return [Change("insert", self.first), *updates, *delete]


class DocumentWriters:
    """Threads that write while a `with` lasts, each as a client with a clock and ids of its own.

    Args:
        feed: Whose collection.
        dice: What decides what is written.
        threads: How many.
        within: How late a document may become visible behind its stamp, in seconds. What was later is changed again.
        survives: Whether a lost server is waited for; then what was being done is found out.

    Attributes:
        lives: What each document went through, by its id.
        late: Ids that were visible too long after their own time.
    """

    def __init__(
        self, feed: Feed, dice: random.Random, *, threads: int = 4, within: float = 6, survives: bool = False
    ) -> None:
        self.lives: dict[ObjectId, list[Life]] = {}
        self.late: set[ObjectId] = set()
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._failures: list[Exception] = []
        seeds = [dice.randrange(2**32) for _ in range(threads)]
        self._threads = [
            threading.Thread(target=self._run, args=(feed, random.Random(seed), within, survives), daemon=True)
            for seed in seeds
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(120)
        if kind is None:
            assert not self._failures, self._failures
            assert self.lives, "Nothing was written: the test sees nothing"

    @property
    def made(self) -> int:
        """How many changes there were so far."""
        with self._lock:
            return sum(life.last - life.first + 1 + life.is_over for lives in self.lives.values() for life in lives)

    def changes(self) -> dict[bytes, list[Change]]:
        """The changes of each document by its message key, once all have ended."""
        with self._lock:
            return {
                str(key).encode(): [change for life in lives for change in life.changes()]
                for key, lives in self.lives.items()
                if lives
            }

    def begin(self, key: ObjectId) -> int:
        """A document is about to be inserted; the version that its new life begins with."""
        with self._lock:
            lives = self.lives.setdefault(key, [])
            version = 1
            if lives:
                version = (lives[-1].last // ROUND + 1) * ROUND if lives[-1].is_vague else lives[-1].last + 1
            lives.append(Life(version, version))
            return version

    def miscarry(self, key: ObjectId) -> None:
        """It was not inserted."""
        with self._lock:
            self.lives[key].pop()

    def saw(self, key: ObjectId, version: int) -> None:
        """A document was there in this version."""
        with self._lock:
            life = next(life for life in reversed(self.lives[key]) if life.first <= version)
            life.last = max(life.last, version)

    def died(self, key: ObjectId, version: int | None) -> None:
        """A document was deleted, in this version if it is known."""
        if version is not None:
            self.saw(key, version)
        with self._lock:
            life = self.lives[key][-1]
            life.is_over, life.is_vague = True, version is None

    def any_key(self, dice: random.Random) -> ObjectId | None:
        """The id of one of the later documents, of whichever client."""
        with self._lock:
            keys = [*self.lives][-OWNED:]
        return dice.choice(keys) if keys else None

    def _run(self, feed: Feed, dice: random.Random, within: float, survives: bool) -> None:  # noqa: FBT001
        try:
            with feed.mongodb.client(retryWrites=False) as client:
                collection = client[feed.database].get_collection(
                    feed.settings["collection"], write_concern=WriteConcern("majority", j=True)
                )
                Author(self, collection, dice, within, survives=survives).write_until(self._end)
        except Exception as error:  # noqa: BLE001 - told at the end of the `with`
            self._failures.append(error)


class Author:
    """One client. Only it inserts and deletes its documents; anybody may update them."""

    def __init__(
        self,
        journal: DocumentWriters,
        collection: Collection[Any],
        dice: random.Random,
        within: float,
        *,
        survives: bool,
    ) -> None:
        self._journal, self._collection, self._dice = journal, collection, dice
        self._within, self._survives = within, survives
        self._skew = dice.uniform(-within / 3, within / 3)
        self._machine, self._counter = dice.randbytes(5), count(dice.randrange(2**23))
        self._living: list[ObjectId] = []
        self._dead: list[ObjectId] = []

    def write_until(self, end: threading.Event) -> None:
        """Change one document after the other."""
        while not end.wait(self._dice.uniform(0, LONGEST_PAUSE)):
            self._change()

    def _change(self) -> None:
        [kind] = self._dice.choices([*KINDS], [*KINDS.values()])
        if kind in {"insert", "delete"}:
            kind = "insert" if len(self._living) < OWNED / 2 else "delete" if len(self._living) > OWNED else kind
        match kind:
            case "insert":
                self._insert()
            case "delete" if self._living:
                self._delete(self._dice.choice(self._living))
            case "replace" if self._living:
                self._replace(self._dice.choice(self._living))
            case _:
                if key := self._journal.any_key(self._dice):
                    self._update(key)

    def _insert(self) -> None:
        stamp = self._stamp()
        is_again = bool(self._dead) and self._dice.random() < AGAIN
        key = self._dice.choice(self._dead) if is_again else self._id(stamp)
        version = self._journal.begin(key)
        self._hesitate()

        def insert() -> bool:
            self._collection.insert_one(self._document(key, version, stamp))
            return True

        if not (self._done(insert) or self._found(key)):
            self._journal.miscarry(key)
            return
        self._living.append(key)
        if is_again:
            self._dead.remove(key)
        elif time.time() - key.generation_time.timestamp() > self._within - 1:
            self._journal.late.add(key)
        self._in_time(key, stamp)

    def _update(self, key: ObjectId) -> None:
        stamp = self._stamp()
        self._hesitate()
        change = {"$inc": {"version": 1}, "$set": {"updated_at": _instant(stamp)}}
        found = self._done(
            lambda: self._collection.find_one_and_update({"_id": key}, change, return_document=ReturnDocument.AFTER)
        )
        if found:
            self._journal.saw(key, found["version"])
        self._in_time(key, stamp)

    def _replace(self, key: ObjectId) -> None:
        """Replace a document, unless somebody else has changed it meanwhile."""
        stamp = self._stamp()
        before = self._found(key)
        assert before, f"{key} is gone, and nobody deleted it"
        self._hesitate()
        version = before["version"] + 1
        document = self._document(key, version, stamp)
        replaced = self._done(
            lambda: self._collection.replace_one({"_id": key, "version": version - 1}, document).modified_count
        )
        if replaced:
            self._journal.saw(key, version)
        self._in_time(key, stamp)

    def _delete(self, key: ObjectId) -> None:
        if self._dice.random() < VANISHING:
            self._update(key)
        found = self._done(lambda: self._collection.find_one_and_delete({"_id": key}))
        if found is None and self._found(key):
            return
        assert found or self._survives, f"{key} is gone, and nobody deleted it"
        self._journal.died(key, found["version"] if found else None)
        self._living.remove(key)
        self._dead.append(key)

    def _in_time(self, key: ObjectId, stamp: float) -> None:
        """Whoever is later than the stamp allows changes the document again."""
        if time.time() - stamp > self._within - 1:
            self._update(key)

    def _stamp(self) -> float:
        return time.time() + self._skew

    def _hesitate(self) -> None:
        """Now and then a long time passes between the stamp and the change."""
        if self._dice.random() < 0.01:
            time.sleep(self._dice.uniform(0, self._within / 3))

    def _document(self, key: ObjectId, version: int, stamp: float) -> dict[str, Any]:
        return {"_id": key, "version": version, "updated_at": _instant(stamp), "text": "山" * self._dice.randrange(80)}

    def _id(self, stamp: float) -> ObjectId:
        """An id as another machine would make it."""
        seconds, number = int(stamp).to_bytes(4, "big"), next(self._counter) % 2**24
        return ObjectId(seconds + self._machine + number.to_bytes(3, "big"))

    def _found(self, key: ObjectId) -> Any:
        """The document, as it is now; a server that is away is waited for."""
        while True:
            try:
                found = self._collection.find_one({"_id": key})
            except ConnectionFailure:
                assert self._survives
                continue
            if found:
                self._journal.saw(key, found["version"])
            return found

    def _done(self, change: Any) -> Any:
        """What a change gives; None where it is not known whether it happened."""
        try:
            return change()
        except ConnectionFailure:
            if not self._survives:
                raise
            return None


class Poller:
    """The original's way to see documents, `_id > last`, while a `with` lasts: the control of the experiment."""

    def __init__(self, feed: Feed) -> None:
        self.seen: list[ObjectId] = []
        self._feed = feed
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(60)

    def _run(self) -> None:
        last = ObjectId("0" * 24)
        while not self._end.wait(0.3):
            found = [document["_id"] for document in self._feed.collection.find({"_id": {"$gt": last}}, {"_id": 1})]
            self.seen += found
            last = max(found, default=last)


def _instant(stamp: float) -> datetime:
    return datetime.fromtimestamp(stamp, timezone.utc)
