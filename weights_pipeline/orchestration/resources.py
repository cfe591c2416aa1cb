"""Resources: the store, the places of live weights and those who are alerted, for any Dagster project.

Scope: what the interface shows of each, and one call into what it stands for. Not here: tables as inputs
(``io_manager``), and what any of them does (``store``, ``live``, ``alerts``).

No resource holds a secret: keys, tokens and the addresses of receivers, which hold both, stay in the environment of the
process that uses them, and are read when they are used. Dagster reads the types of fields as they are, not as text.
"""

import datetime as dt
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import dagster as dg
from pydantic import Field

from weights_pipeline.alerts import Alert, Outbox
from weights_pipeline.alerts.delivery import deliver, receivers
from weights_pipeline.live import Keys, LiveWeights, Reader, SigningKey
from weights_pipeline.settings import Settings, require_bucket, require_encryption, require_places
from weights_pipeline.store import open_store
from weights_pipeline.store.base import Store
from weights_pipeline.versions.publication import publish_live

STORE, LIVE, ALERTS = "weights_store", "weights_live", "weights_alerts"
"""What the resources are called in the definitions of a workspace."""


class StoreResource(dg.ConfigurableResource, ABC):  # type: ignore[type-arg]
    """Tables of a workspace, in a file or in a bucket."""

    lock_timeout: float = Field(default=120.0, description="Seconds to wait for whoever writes to the store.")

    @abstractmethod
    def open(self) -> Store:
        """The store; nothing is connected to before it is used."""


class DuckDBStoreResource(StoreResource):
    """Tables of a workspace, in a DuckDB file."""

    home: str = Field(default=".home", description="Folder with weights.duckdb, which need not exist yet.")

    def open(self) -> Store:
        """The store; the file is opened when it is used."""
        home = Path(self.home).resolve()
        return open_store(Settings(data=home, home=home, lock_timeout=self.lock_timeout))


class S3StoreResource(StoreResource):
    """Tables of a workspace, in S3. Endpoint, region and credentials are those of the AWS_* variables and files."""

    url: str = Field(description="s3://BUCKET/PREFIX")
    sse: str = Field(default="", description="Encryption asked of S3: AES256, aws:kms, aws:kms:KEY, or the bucket's.")

    def open(self) -> Store:
        """The store; the service is asked when it is used.

        Raises
        ------
        weights_pipeline.settings.SettingsError
            The address is none of S3, or the encryption is none.
        """
        url, sse = require_bucket("url", self.url), require_encryption("sse", self.sse)
        return open_store(Settings(data=Path(), home=Path(), store=url, sse=sse, lock_timeout=self.lock_timeout))


class LiveTargets(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Places that live weights are published to and read from; WEIGHTS_LIVE_SIGNING_KEY signs them."""

    targets: list[str] = Field(description="Folders, s3://BUCKET/PREFIX or dynamodb://TABLE; read is the first.")

    @property
    def places(self) -> tuple[str, ...]:
        """The targets.

        Raises
        ------
        weights_pipeline.settings.SettingsError
            One of them holds credentials.
        """
        return require_places("targets", self.targets)

    @property
    def signing_key(self) -> SigningKey | None:
        """The key that signs what is published, if any."""
        return SigningKey.from_environment(os.environ)

    def publish(self, document: LiveWeights) -> dict[str, bool]:
        """Publish to every target, signed where there is a key; by target, whether it was new there.

        Raises
        ------
        weights_pipeline.live.LiveError
            A target holds newer weights or cannot be reached. The targets before it have the document.
        """
        return publish_live(document, self.places, self.signing_key)

    def reader(self, book: str, *, base: Mapping[str, float], max_leverage: float) -> Reader:
        """Reader of what is published of a book in the first target; see :class:`weights_pipeline.live.Reader`."""
        keys = Keys.from_environment(os.environ)
        return Reader(self.places[0], book=book, base=base, max_leverage=max_leverage, keys=keys)


class Notifier(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Tells whoever WEIGHTS_ALERTS names in the environment, or a file in the folder where it names nobody."""

    folder: str = Field(description="Folder of the alerts that wait, and of what was delivered.")

    @property
    def outbox(self) -> Outbox:
        """Where alerts wait."""
        return _outbox(self.folder)

    def notify(self, alerts: Sequence[Alert], now: dt.datetime) -> list[tuple[str, str]]:
        """Keep alerts, and deliver what is due; one that was told before is told no more.

        Returns
        -------
        list of (str, str)
            Receivers that lack a message, and why. Whoever delivers next tries again, the sensors of a workspace too.
        """
        self.outbox.put(type(self).__name__, "", alerts, now)
        return self.deliver(now)

    def deliver(self, now: dt.datetime) -> list[tuple[str, str]]:
        """Deliver what is due; receivers that lack a message, and why."""
        outbox = self.outbox
        return deliver(outbox, receivers(os.environ, outbox.folder), now)


@cache
def _outbox(folder: str) -> Outbox:
    """One for the process: it reads its file again only where that has changed."""
    return Outbox(Path(folder))


def store_resource(settings: Settings) -> StoreResource:
    """The store that settings name."""
    if settings.store:
        return S3StoreResource(url=settings.store, sse=settings.sse, lock_timeout=settings.lock_timeout)
    return DuckDBStoreResource(home=str(settings.home), lock_timeout=settings.lock_timeout)
