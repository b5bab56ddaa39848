"""What raters must not be able to compute or forge: the order of the images, gold trials, tickets and names of images.

All of it depends on a secret key of the deployment, which is in the store, never in the manifest of the study. A ticket is an
encrypted and signed trial, bound to its rater and to the order of its images: only trials that a rater was given can be answered.
Every display of an image has a handle of its own, so that handles tell neither the method nor that two images are one file.

Tickets and handles are deterministic authenticated encryption with a synthetic IV (P. Rogaway and T. Shrimpton, EUROCRYPT 2006):
tag = HMAC(key, context, payload), ciphertext = payload XOR the stream HMAC(key, tag), HMAC(key, tag, 1), ...
"""

import base64
import hashlib
import hmac
import random
import secrets
from collections.abc import Iterable
from pathlib import Path

from eval.preference.study import BETTER, GOLD_RATINGS, WORSE, Item, Protocol, Study, Trial, TrialKind
from gpen.errors import GPENError

TAG = 12  # bytes
SALT = 8  # bytes
MAX_PAYLOAD = 1024  # bytes
_BLOCK = hashlib.sha256().digest_size  # bytes
_ID = 8  # bytes of the id of a trial


class Tickets:
    """The tickets and image handles of a study. keys: hexadecimal; the first signs, all are accepted."""

    def __init__(self, study: Study, keys: Iterable[str]):
        self.study = study
        self._keys = [bytes.fromhex(key) for key in keys]
        self._paths = sorted(study.image_paths)
        self._places = {path: place for place, path in enumerate(self._paths)}

    def random(self, *parts: object) -> random.Random:
        """A generator that depends on the key and on `parts`."""
        return random.Random(_hmac(self._keys[0], "random", *map(str, parts)))

    def code(self, account: str) -> str:
        """The code of the rater with this account: one session per account, without the account itself."""
        return base64.urlsafe_b64encode(_hmac(self._keys[0], "account", account)[:16]).decode().rstrip("=")

    def order(self, trial: Trial, rater: str, original: list[str] | None = None) -> tuple[str, ...]:
        """The methods in the order displayed to this rater, from left to right.

        original: for a repeat, the order in which the rater saw the trial first; a repeat has the reverse order.
        """
        if trial.kind == TrialKind.REPEAT and original is not None:
            return tuple(reversed(original))
        methods = list(trial.methods)
        self.random("order", rater, trial.id).shuffle(methods)
        return tuple(methods)

    def issue(self, trial: Trial, rater: str, order: tuple[str, ...]) -> dict:
        """The data of a trial that the page of a rater receives."""
        places = bytes(trial.methods.index(method) for method in order)
        ticket = self._seal(bytes.fromhex(trial.id) + places, self._context(rater))
        return {"trial": ticket} | self._shown(trial.item, order, ticket)

    def redeem(self, ticket: str, rater: str) -> tuple[Trial, list[str]]:
        """The trial of a ticket and the order of its methods. Raises GPENError for a ticket that this rater was not given."""
        payload = self._open(ticket, self._context(rater))
        trial = self.study.trials.get(payload[:_ID].hex()) if payload else None
        if payload is None or trial is None:
            raise GPENError("This trial was not given to this rater in this study; reload the page.")
        return trial, [trial.methods[place] for place in payload[_ID:]]

    def seal(self, payload: bytes, rater: str) -> str:
        """Encrypt and sign the payload of a pair that is made on demand, for one rater: text of at most MAX_PAYLOAD bytes.

        It is padded with spaces, so that the length of the ticket tells nothing.
        """
        return self._seal(payload.ljust(MAX_PAYLOAD), f"pair/{self.study.name}/{rater}")

    def unseal(self, ticket: str, rater: str) -> bytes | None:
        """The payload of `seal`, with its padding; None for a ticket that this rater was not given."""
        return self._open(ticket, f"pair/{self.study.name}/{rater}")

    def image(self, handle: str) -> Path:
        """The file of an image handle. Raises GPENError for an unknown handle."""
        payload = self._open(handle, f"image/{self.study.name}")
        if payload is None:
            raise GPENError("There is no such image in the study; reload the page.")
        return self.study.image(self._paths[int.from_bytes(payload[SALT:], "big")])

    def training_trials(self) -> list[dict]:
        """The trials of the training round, with the correct answer and an explanation."""
        trials = []
        for number, item in enumerate(self.study.training):
            damage = f" ({item.damage})" if item.damage else ""
            if self.study.protocol == Protocol.RATING:
                answer: dict = {"scores": list(GOLD_RATINGS), "why": f"This image is damaged{damage}: a low score is correct."}
                order: tuple[str, ...] = (WORSE,)
            else:
                order = (BETTER, WORSE) if number % 2 else (WORSE, BETTER)
                answer = {"better": order.index(BETTER), "why": f"The other image is damaged{damage}: this one is better."}
            name = f"training-{number}"
            trials.append({"trial": name} | self._shown(item, order, name) | answer)
        return trials

    def _shown(self, item: Item, order: tuple[str, ...], ticket: str) -> dict:
        """The images as handles."""
        given = item.input if self.study.shows_input else None
        return {
            "protocol": self.study.protocol,
            "images": [self._handle(item.results[method], ticket, place) for place, method in enumerate(order)],
            "input": given and self._handle(given, ticket, len(order)),
            "width": item.width,
            "height": item.height,
        }

    def _handle(self, path: str, ticket: str, place: int) -> str:
        salt = _hmac(self._keys[0], "salt", ticket, str(place))[:SALT]
        return "images/" + self._seal(salt + self._places[path].to_bytes(4, "big"), f"image/{self.study.name}")

    def _context(self, rater: str) -> str:
        return f"ticket/{self.study.name}/{rater}"

    def _seal(self, payload: bytes, context: str) -> str:
        tag = _tag(self._keys[0], context, payload)
        return base64.urlsafe_b64encode(tag + _masked(self._keys[0], tag, payload)).decode().rstrip("=")

    def _open(self, token: str, context: str) -> bytes | None:
        """The payload; None if the token is not authentic."""
        try:
            data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            return None
        if len(data) > TAG + MAX_PAYLOAD:
            return None
        tag, masked = data[:TAG], data[TAG:]
        for key in self._keys:
            payload = _masked(key, tag, masked)
            if secrets.compare_digest(tag, _tag(key, context, payload)):
                return payload
        return None


def _hmac(key: bytes, *parts: str) -> bytes:
    return hmac.digest(key, "\0".join(parts).encode(), "sha256")


def _tag(key: bytes, context: str, payload: bytes) -> bytes:
    return _hmac(key, "tag", context, payload.hex())[:TAG]


def _masked(key: bytes, tag: bytes, payload: bytes) -> bytes:
    """The payload XOR a stream that depends on the tag; its own inverse."""
    blocks = (_hmac(key, "stream", tag.hex(), *([str(i)] if i else [])) for i in range(len(payload) // _BLOCK + 1))
    return bytes(a ^ b for a, b in zip(payload, b"".join(blocks), strict=False))
