"""Minimum risk training: candidate translations are drawn from the model, and their expected cost is to fall."""

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
