module traffic

go 1.25.0

require golang.org/x/net v0.57.0

require (
	golang.org/x/crypto v0.54.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
)
