"""The components as a plugin, for programs in other languages (`pulumi package add`)."""

from pulumi.provider.experimental import component_provider_host

from pulumi_holdfast import AwsPlatform, Endpoint, SharedStack

if __name__ == "__main__":
    component_provider_host(name="holdfast", components=[AwsPlatform, Endpoint, SharedStack])
