#!/usr/bin/perl

# Xray-core as the client.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Interop;

my @legs;

for my $carrier (qw(tcp tls)) {
    for my $security (qw(aes-128-gcm chacha20-poly1305 none zero)) {
        push @legs, { carrier => $carrier, security => $security };
    }
}

# Both are off by default: lengths under their own AEAD, and no end chunk.

for my $security (qw(aes-128-gcm chacha20-poly1305)) {
    for my $experiments (qw(AuthenticatedLength NoTerminationSignal
                            AuthenticatedLength|NoTerminationSignal))
    {
        push @legs, {
            carrier => 'tcp', security => $security, title => $experiments,
            experiments => $experiments,
        };
    }
}

run_interop('xray', @legs);
