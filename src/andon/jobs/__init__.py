"""Work that outlives the request that asked for it: durable jobs and who runs them."""
