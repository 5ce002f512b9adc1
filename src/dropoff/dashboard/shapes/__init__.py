"""The JSON shapes of the API's answers, for its schema: what other programs rely on. Keys may be added."""

from dropoff.dashboard.shapes.alerts import AlertsAnswer, BacktestAnswer, EpisodesAnswer
from dropoff.dashboard.shapes.common import Answer, Error, PeriodShape, VersionAnswer
from dropoff.dashboard.shapes.executive import ExecutiveAnswer
from dropoff.dashboard.shapes.experiments import ExperimentsAnswer, PlanAnswer
from dropoff.dashboard.shapes.funnels import CohortsAnswer, DropOffsAnswer, FunnelAnswer
from dropoff.dashboard.shapes.messages import MessagesAnswer
from dropoff.dashboard.shapes.metrics import (
    ConversationsAnswer,
    DefinitionsAnswer,
    MetricsAnswer,
    OwnQuery,
    QueryAnswer,
    TrendAnswer,
)
from dropoff.dashboard.shapes.operations import OperationsAnswer
from dropoff.dashboard.shapes.optimization import OptimizationAnswer
from dropoff.dashboard.shapes.patterns import PatternsAnswer
from dropoff.dashboard.shapes.sampling import SampleAnswer
from dropoff.dashboard.shapes.segments import ExplainAnswer, SegmentsAnswer

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
