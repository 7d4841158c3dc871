#!/usr/bin/perl

# sing-box built with grpc-go as the client.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Interop;

my @legs;

for my $listen (qw(h2c https)) {
    push @legs, {
        carrier => 'grpc', listen => $listen, path => 'svc',
        security => 'aes-128-gcm', title => $listen,
        many => $listen eq 'https' ? 200 : 0,
    };
}

run_interop('sing-box-grpc', @legs);
