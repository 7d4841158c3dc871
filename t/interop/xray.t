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

# Early data: the first write of a flow goes with the request, if it is small.

for my $listen (qw(http https)) {
    for my $carrier (qw(websocket httpupgrade)) {
        for my $early (0, 2048) {
            push @legs, {
                carrier => $carrier, listen => $listen, path => '/ray',
                security => 'aes-128-gcm', early => $early,
                title => join(', ', $listen, $early ? 'early data' : ()),
            };
        }
    }
}

for my $security (qw(chacha20-poly1305 none zero)) {
    push @legs, {
        carrier => 'websocket', listen => 'http', path => '/ray',
        security => $security, title => 'http',
    };
}

run_interop('xray', @legs);
