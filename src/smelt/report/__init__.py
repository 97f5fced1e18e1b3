"""The record of a run as one page of HTML."""
