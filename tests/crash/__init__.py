# SPDX-License-Identifier: Apache-2.0
"""Kills the broker and holds it to what it had acknowledged: README.md here says how."""
