# Clients that are not authentic yet: what they may have of a worker.

use lib "t/lib";
use TestVMess;
use VMess::HTTP2;

plan "no_plan";
no_shuffle();

sub h2 { return VMess::HTTP2->new(tcp(stream_port() + 2)) }

# an XHTTP client's download, which waits for the upload

our $padding = 'x_padding=' . 'X' x 100;

sub download {
    my ($c, $n) = @_;
    return $c->request('GET', "/ray/$n?$padding");
}

# the answer of the site to a new client

sub site {
    my $s = tcp(http_port());
    put($s, "GET /ok HTTP/1.0\r\n\r\n");
    return slurp($s) =~ /\r\n\r\n(.*)/s ? $1 : '';
}

# the head of the PROXY protocol

sub from { return "PROXY TCP" . ($_[0] =~ /:/ ? '6' : '4')
                  . " $_[0] $_[0] 1000 443\r\n" }

run_tests();

__DATA__

=== TEST 1: requests over HTTP/2 leave connections to others
--- servers
echo echo
--- stream_config
server { vmess_listen flows; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location /ray/ { vmess_pass flows; }
}
--- config
location = /ok { return 200 ok; }
location /ws { vmess_pass flows websocket; }
location = /status { stub_status; }
--- stream_client
my @c = map { h2() } 1 .. 4;
my @s;
for my $c (@c) {
    push @s, [ map { download($c, scalar(@s) . "-$_") } 1 .. 128 ];
    $c->ping;
}
is(site(), 'ok', 'a site is served');
cmp_ok(active(), '<=', 4 + 64 + 1, 'few connections are taken');
is($s[0][0]->status, 404, 'the oldest request is the site\'s');
is(flow(via => ws(path => '/ws'), to => 'echo', data => 'hello')->read(5),
   'hello', 'a client that comes then has its flow');
$_->close for @c;
ok(wait_for(sub { active() == 1 }), 'nothing is left');
1;
--- stream_response: 1
--- error_log
too many clients that are not authentic yet


=== TEST 2: the oldest connection of an address goes to the fallback, and no other address
--- servers
echo echo
site tag site
--- listen: proxy_protocol
--- stream_config
vmess_handshakes worker=8 address=4;
set_real_ip_from 127.0.0.1;
--- stream_server_config
vmess main;
vmess_handshake_timeout 1h;
vmess_fallback 127.0.0.1:%%site%%;
proxy_pass vmess_target;
--- config
location = /ok { return 200 ok; }
--- stream_client
my ($other, @s);
put($other = tcp(), from('2001:db8:0:1::1') . 'x');
ok(wait_log(qr/proxy .* connected to/), 'the site has been asked already');
for my $i (1 .. 6) {
    push @s, tcp();
    put($s[-1], from("2001:db8:0:2::$i") . 'x');
    site();     # the one worker has seen it
    if ($i > 4) {
        is(read_n($s[$i - 5], 6), 'site:x', "connection $i was one too many");
    }
}
# of the address
my @wait = (@s[2 .. 5], $other);
is(scalar(IO::Select->new(@wait)->can_read(0)), undef, 'the others wait');

# of the worker
push @s, tcp(), tcp(), tcp(), tcp();
put($s[-$_], from("192.0.2.$_") . 'x') for reverse 1 .. 4;
is(read_n($other, 6), 'site:x', 'the oldest of the worker is next');
site();
is(scalar(IO::Select->new(@s[2 .. 5])->can_read(0.5)), undef, 'and no other one');

# who is authentic gets in
my $in = tcp();
put($in, from('198.51.100.1'));
is(flow(via => $in, to => 'echo', data => 'hello')->read(5), 'hello', 'a flow');
1;
--- stream_response: 1


=== TEST 3: those who end, or are known, are not counted any more
--- servers
echo echo
site tag site
--- stream_config
vmess_handshakes worker=4 address=3;
server {
    listen 127.0.0.1:%%PORT_1%%;
    vmess main;
    vmess_handshake_timeout 100ms;
    proxy_pass vmess_target;
}
server { vmess_listen flows; vmess main; proxy_pass vmess_target; }
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%site%%;
proxy_pass vmess_target;
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location /ray/ { vmess_pass flows; }
}
--- config
location /ws { vmess_pass flows; }
location = /status { stub_status; }
--- stream_client
my @keep;
for my $i (1 .. 4) {
    my $s = tcp();
    put($s, 'no VMess, and more than a header has');
    is(read_n($s, 5), 'site:', 'at the fallback');
    push @keep, $s;

    $s = tcp();
    put($s, 'half');
    $s->close;

    $s = tcp(stream_port() + 1);
    is(slurp($s), '', 'its time was over');

    push @keep, flow(to => 'echo', data => 'hello');
    is($keep[-1]->read(5), 'hello', 'a flow');

    push @keep, flow(via => ws(path => "/ws"), to => 'echo', data => 'hello');
    is($keep[-1]->read(5), 'hello', 'over WebSocket');
    undef $s;
    $s = ws(path => "/ws");
    undef $s;

    my $c = h2();
    my $d = download($c, "a$i");
    $c->ping;
    $d->reset;
    $d = download($c, "b$i");
    $c->ping;
    $c->close;
}
is(log_count(qr/too many clients/), 0, 'never more than a few');
1;
--- stream_response: 1


=== TEST 4: packets of XHTTP that wait for their session
--- servers
echo echo
--- stream_config
vmess_handshakes worker=8 address=4;
server { vmess_listen flows; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location /ray/ { vmess_pass flows; }
}
--- config
location /ws { vmess_pass flows; }
--- stream_client
my $c = h2();
my @s = map { $c->request('POST', "/ray/s$_/0?$padding", data => 'x', end => 1) }
            1 .. 6;
is($_->status, 404, 'the oldest is the site\'s') for @s[0, 1];
is(flow(via => ws(path => '/ws'), to => 'echo', data => 'hello')->read(5),
   'hello', 'a flow');
is($s[2]->status, 404, 'which takes the place of another one');
$c->close;
1;
--- stream_response: 1
--- error_log
too many clients that are not authentic yet


=== TEST 5: the configuration
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
for (['vmess_handshakes worker=0;',
      qr/invalid value "0" of "worker=" in "vmess_handshakes"|"worker=0"/],
     ['vmess_handshakes 5;', qr/in "vmess_handshakes"/],
     ['vmess_handshakes address=2 address=3;', qr/duplicate parameter/],
     ['vmess_handshakes worker=2; vmess_handshakes address=3;', qr/duplicate/],
     ['server { listen 127.0.0.1:1; vmess_handshakes worker=2; return 1; }',
      qr/"vmess_handshakes" directive is not allowed here/])
{
    my ($status, $out) = nginx_t($_->[0]);
    is($status, 1, $_->[0]);
    like($out, $_->[1], 'its message');
}
is((nginx_t('vmess_handshakes worker=100 address=7; '
            . 'server { listen 127.0.0.1:1; return 1; }'))[0], 0, 'both');
1;
--- stream_response: 1
