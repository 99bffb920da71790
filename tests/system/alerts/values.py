"""What the rules' expressions give."""

from tests.system.alerts import values_model, values_serving
from tests.system.alerts.series import Value

VALUES: tuple[Value, ...] = (*values_serving.values(), *values_model.values())
