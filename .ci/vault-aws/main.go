// Command vault-aws is the AWS secrets engine of Vault as a plugin, for tests with OpenBao,
// which has none built in.
package main

import (
	"context"
	"log"
	"os"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/builtin/logical/aws"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/plugin"
	"github.com/hashicorp/vault/sdk/rotation"
)

// A system is what OpenBao offers to engines, and knows no rotation by a manager, which an
// engine that is configured without one takes itself out of.
type system struct{ logical.SystemView }

func (system) DeregisterRotationJob(context.Context, *rotation.RotationJobDeregisterRequest) error {
	return nil
}

func factory(ctx context.Context, conf *logical.BackendConfig) (logical.Backend, error) {
	conf.System = system{conf.System}
	return aws.Factory(ctx, conf)
}

func main() {
	meta := &api.PluginAPIClientMeta{}
	flags := meta.FlagSet()
	flags.Parse(os.Args[1:])
	if err := plugin.ServeMultiplex(&plugin.ServeOpts{
		BackendFactoryFunc: factory,
		TLSProviderFunc:    api.VaultPluginTLSProvider(meta.GetTLSConfig()),
	}); err != nil {
		log.Fatal(err)
	}
}
