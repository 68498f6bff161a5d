"""Minimum risk training: minimizes the expected cost of candidate translations that are drawn from the model."""

from nmt.minimum_risk.candidates import Candidates, CandidateSampler
from nmt.minimum_risk.loss import RiskLoss, expected_costs, risk_loss
from nmt.minimum_risk.options import Cost, MinimumRiskOptions

__all__ = [
    "CandidateSampler",
    "Candidates",
    "Cost",
    "MinimumRiskOptions",
    "RiskLoss",
    "expected_costs",
    "risk_loss",
]
