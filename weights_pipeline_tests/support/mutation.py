"""Hypothesis settings for mutation testing, as a pytest plugin: the same examples every time, none of them shrunk."""

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "mutation",
    database=None,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    # One process runs the suite again and again, which makes several instances of a test class.
    suppress_health_check=(HealthCheck.differing_executors, HealthCheck.too_slow),
)
settings.load_profile("mutation")
