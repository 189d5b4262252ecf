"""Project settings, read by Kedro (https://docs.kedro.org/en/stable/configure/configuration_basics/)."""

from omegaconf.resolvers import oc

from fruits_pipeline.hooks import ProjectHooks

HOOKS = (ProjectHooks(),)

# No telemetry; .telemetry says the same to Kedro's command line.
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry",)

CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {"spark": ["spark*", "spark*/**"]},
    # Kedro lets only credentials read environment variables; conf/cloud names the bucket with one.
    "custom_resolvers": {"oc.env": oc.env},
}
