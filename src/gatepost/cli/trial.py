"""`gatepost try`: one conversation with the configured plugins, without a socket."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import click

from gatepost.cli.complaint import complain
from gatepost.cli.configuration import (
    config_option,
    first_domain,
    listener_named,
    listener_option,
    load_or_complain,
)
from gatepost.cli.log_lines import log_to
from gatepost.cli.rehearsal import Fate, Letter, Rehearsal
from gatepost.cli.visible import visible
from gatepost.config import Config, Listen
from gatepost.hooks.chain import Chain
from gatepost.hooks.turn import Turn
from gatepost.plugin import HOOKS
from gatepost.server.conversation import Conversation
from gatepost.session import Endpoint, Session, Transaction
from gatepost.site import Site
from gatepost.trail import Decision
from gatepost.verdict import Accept, Verdict
