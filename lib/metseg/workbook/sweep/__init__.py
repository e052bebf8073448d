"""Sweeps: many trainings of one notebook with other parameters, on this machine or many, in one table."""
