# SPDX-License-Identifier: Apache-2.0
"""Machines, faults, workload, history and checker for many brokers that are one: README.md here says how."""
