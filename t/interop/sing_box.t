#!/usr/bin/perl

# sing-box as the client.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Interop;

my @legs;

# Its "none" is what others call "zero": no chunks.

for my $carrier (qw(tcp tls)) {
    for my $security (qw(aes-128-gcm chacha20-poly1305 none zero)) {
        push @legs, {
            carrier => $carrier, security => $security,
            $security eq 'none' ? (logged => 'zero') : (),
        };
    }
}

for my $security (qw(aes-128-gcm chacha20-poly1305)) {
    for my $options ([ qw(authenticated_length) ], [ qw(global_padding) ],
                     [ qw(authenticated_length global_padding) ])
    {
        push @legs, {
            carrier => 'tcp', security => $security,
            title => join(', ', @$options),
            map { $_ => 1 } @$options,
        };
    }
}

# The original header: it uses the first alter id.

push @legs, map {
    { security => $_->[1], carrier => $_->[0], alter => $_->[2],
      title => "alter_id $_->[2]",
      $_->[1] eq 'none' ? (logged => 'zero') : () }
} [ 'tcp', 'aes-128-cfb', 16 ], [ 'tcp', 'chacha20-poly1305', 1 ],
  [ 'tls', 'none', 16 ];

# Early data: in a header that has a name, or in the path.

for my $listen (qw(http https)) {
    push @legs, map {
        {
            listen => $listen, security => 'aes-128-gcm', %$_,
            title => join(', ', $listen, $_->{title} // ()),
        }
    } (
        { carrier => 'websocket', path => '/ray' },
        { carrier => 'websocket', path => '/ray', early => 2048,
          early_in => 'Sec-WebSocket-Protocol',
          title => 'Sec-WebSocket-Protocol' },
        { carrier => 'websocket', path => '/ray', early => 64,
          early_in => 'X-Early', title => 'X-Early' },
        { carrier => 'websocket', path => '/path/', early => 2048,
          title => 'path' },
        { carrier => 'httpupgrade', path => '/ray' },
    );
}

# HTTP/2 over TLS; without TLS a form of HTTP/1.1.

for my $listen (qw(http https)) {
    for my $path (qw(/h2 /any/)) {
        push @legs, {
            carrier => 'http', listen => $listen, path => $path,
            security => 'aes-128-gcm', title => "$listen, $path",
            many => "$listen$path" eq 'https/h2' ? 200 : 0,
        };
    }
}

# its own gRPC

for my $listen (qw(h2c https)) {
    push @legs, {
        carrier => 'grpc', listen => $listen, path => 'svc',
        security => 'aes-128-gcm', title => $listen,
    };
}

# Datagrams.  Without an encoding of packets a socket has one peer.

for my $carrier (
    { carrier => 'tcp', dns => 1 },
    { carrier => 'tls' },
    { carrier => 'websocket', listen => 'https', path => '/ray' },
) {
    my $title = $carrier->{listen} ? "$carrier->{listen}, " : '';

    push @legs, map { { %$carrier, %$_, title => "$title$_->{title}" } } (
        { udp => 'udp', security => 'aes-128-gcm', title => 'UDP' },
        { udp => 'xudp', security => 'chacha20-poly1305', title => 'XUDP',
          dns => 0, cone => [ -flows => 4 ] },
        { udp => 'packetaddr', security => 'chacha20-poly1305', dns => 0,
          title => 'packetaddr', cone => [ -flows => 4 ] },
    );
}

run_interop('sing-box', @legs);
