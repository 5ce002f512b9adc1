"""The JSON shapes of the API's answers, for its schema: what other programs rely on. Keys may be added."""

from dropoff.dashboard.api.shapes.alerts import AlertsAnswer, BacktestAnswer, EpisodesAnswer
from dropoff.dashboard.api.shapes.common import Answer, Error, PeriodShape, VersionAnswer
from dropoff.dashboard.api.shapes.executive import ExecutiveAnswer
from dropoff.dashboard.api.shapes.experiments import ExperimentsAnswer, PlanAnswer
from dropoff.dashboard.api.shapes.funnels import CohortsAnswer, DropOffsAnswer, FunnelAnswer
from dropoff.dashboard.api.shapes.messages import MessagesAnswer
from dropoff.dashboard.api.shapes.metrics import (
    ConversationsAnswer,
    DefinitionsAnswer,
    MetricsAnswer,
    OwnQuery,
    QueryAnswer,
    TrendAnswer,
)
from dropoff.dashboard.api.shapes.operations import OperationsAnswer
from dropoff.dashboard.api.shapes.optimization import OptimizationAnswer
from dropoff.dashboard.api.shapes.patterns import PatternsAnswer
from dropoff.dashboard.api.shapes.sampling import SampleAnswer
from dropoff.dashboard.api.shapes.segments import ExplainAnswer, SegmentsAnswer

__all__ = [
    "AlertsAnswer",
    "Answer",
    "BacktestAnswer",
    "CohortsAnswer",
    "ConversationsAnswer",
    "DefinitionsAnswer",
    "DropOffsAnswer",
    "EpisodesAnswer",
    "Error",
    "ExecutiveAnswer",
    "ExperimentsAnswer",
    "ExplainAnswer",
    "FunnelAnswer",
    "MessagesAnswer",
    "MetricsAnswer",
    "OperationsAnswer",
    "OptimizationAnswer",
    "OwnQuery",
    "PatternsAnswer",
    "PeriodShape",
    "PlanAnswer",
    "QueryAnswer",
    "SampleAnswer",
    "SegmentsAnswer",
    "TrendAnswer",
    "VersionAnswer",
]
