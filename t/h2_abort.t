# HTTP/2: what a client sent before it reset its stream, or left, is the
# target's.

use lib "t/lib";
use TestVMess;
use VMess::GRPC;
use VMess::HTTP2;
use VMess::Site;
use VMess::XHTTP;

plan "no_plan";
no_shuffle();

run_tests();

__DATA__

=== TEST 1: header, data and reset at once
--- servers
sink sink
src source 3000000
--- stream_config
log_format l '$upstream_bytes_sent';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    keepalive_requests 10000;
    location /ray { vmess_pass ray; }
    location /grpc { vmess_pass ray grpc; }
    location /x { vmess_pass ray xhttp; }
}
--- config
location = /status { stub_status; }
--- stream_client
my $start = active();
my $padding = 'http://a/?x_padding=' . 'X' x 200;
my %request = (
    http => sub { $_[0]->request(PUT => '/ray', data => $_[1]) },
    grpc => sub { $_[0]->request(POST => '/grpc/Tun', data => $_[1],
                      codec => VMess::GRPC->new,
                      headers => ['content-type' => 'application/grpc']) },
    xhttp => sub { $_[0]->request(POST => '/x/', data => $_[1],
                       headers => [referer => $padding]) },
);
my $lines = 0;

for my $kind (sort keys %request) {
    for my $size (1, 1000, 16_000, 50_000) {
        for my $how ('reset', 'leave', 'both') {
            for my $target ('sink', 'src') {
                my $c = h2();
                $c->ping;
                my $v = vmess(to => $target);
                $c->{cork} = 1;
                my $s = $request{$kind}->($c, $v->header
                                              . $v->chunk(pattern($size)));
                $s->reset if $how ne 'leave';
                $c->{cork} = 0;
                $c->put('');
                $c->close if $how ne 'reset';
                $lines++;
                is(wait_for(sub { (() = access_log() =~ /\n/g) == $lines }), 1,
                   'the flow ends');
                is((split /\n/, access_log())[-1], $size,
                   "$kind, $size bytes, $how, $target") if $target eq 'sink';
            }
        }
    }
}
is(wait_for(sub { active() == $start }), 1, 'all have gone');
--- no_error_log
[alert]
