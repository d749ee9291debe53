// pulumi-resource-kubernetes is the official Kubernetes provider, served from its own module with the schema
// that the module carries. The two embedded files are written before the build (see builds.py): the schema is
// the module's own, stamped with the version that the Python SDK asks for.
package main

import (
	_ "embed"

	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version"
)

//go:embed schema-embed.json
var schema []byte

//go:embed terraform-mapping-embed.json
var terraformMapping []byte

func main() {
	provider.Serve("kubernetes", version.Version, schema, terraformMapping)
}
