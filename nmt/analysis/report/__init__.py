"""One page to look at, without anything from the network: scores, curves, and alignments word by word."""

from nmt.analysis.report.page import Shown, Subject, write_page
from nmt.analysis.report.sentences import Selection

__all__ = ["Selection", "Shown", "Subject", "write_page"]
