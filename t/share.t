# vmess_share: links that the API makes of the configuration, read by a reader of
# the tests' own and used for transfers, and what nginx -t says.

use lib "t/lib";
use TestVMess;
use VMess::API;
use VMess::Share qw(read_link);

plan "no_plan";
no_shuffle();

our $api;

sub api {
    my ($method, $path, @o) = @_;
    $api //= VMess::API->new(connect => sub { tcp(http_port()) });
    my $a = $api->call($method, $path, @o);
    my @bad = splice @{ $api->{problems} };
    is("@bad", '', "$method $path is as the document says") if @bad;
    return $a;
}

# servers that a user is told of, by names, each read in all its forms

sub links {
    my ($user) = @_;
    my %links;
    for my $l (@{ api(GET => "users/$user/links")->{json}{links} }) {
        my ($first, @more) = map { read_link($l->{$_}) }
                             grep { defined $l->{$_} } qw(v2rayn uri shadowrocket);
        for my $s (@more) {
            is(text($s, sort keys %$s), text($first, sort keys %$s), "$l->{name}: forms agree")
                if $s->{network} ne 'grpc';
        }
        is($first->{name}, $l->{name}, "$l->{name}: its name");
        ok(!$links{$l->{name}}, "$l->{name}: once");
        $links{$l->{name}} = { %$first, forms => 1 + @more };
    }
    return \%links;
}

sub text {
    my ($s, @keys) = @_;
    return join ' ', map { my $v = $s->{$_} // 'undef'; "$_=" . (ref $v ? join(',', @$v) : $v) } @keys;
}

# whether nginx -t refuses a server, a location, and with which message

sub stream { return "server { listen 127.0.0.1:%%PORT_1%%; proxy_pass vmess_target; $_[0] }" }

sub location {
    my ($share, $location, $listen) = @_;
    return { main => expand_ports("http { server { " . ($listen // 'listen 127.0.0.1:%%PORT_2%%;')
             . ' ' . ($location // 'location /ray') . " { $share } } }") };
}

sub expand_ports { return $_[0] =~ s/%%PORT_(\d)%%/stream_port() + $1/gre =~ s/%%(CERT|KEY)%%/TestVMess::expand("%%$1%%")/gre }

sub refused {
    my ($name, $want, $stream, $o) = @_;
    my ($status, $out) = nginx_t("resolver 127.0.0.1; vmess_users main:1m { alice %%ALICE%%; } "
        . "server { vmess_listen ray; vmess main; proxy_pass vmess_target; } " . ($stream // ''), %{ $o // {} });
    isnt($status, 0, "$name: is refused") or return;
    like($out, $want, "$name: and why");
    cmp_ok(scalar(() = $out =~ /\[emerg\]/g), '==', 1, "$name: once") or diag $out;
}

run_tests();

__DATA__

=== TEST 1: links of a user say what the configuration does
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% ssl;
    server_name s.example;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    location /up/ {
        vmess_pass ray httpupgrade xhttp;
        vmess_share up.example:%%PORT_2%% transport=httpupgrade early_data=512 name=up;
        vmess_share up.example:%%PORT_2%% transport=xhttp mode=packet-up sni=s.example name=xhttp;
    }
    location /Svc/ { vmess_pass ray grpc; vmess_share up.example:443 mode=multi alpn=h2 name=grpc; }
    location / { vmess_pass ray grpc; vmess_share up.example:443 'name=any grpc'; }
    location = /Tun { vmess_pass ray grpc; vmess_share up.example:443 'name=no name'; }
    location = /multi/TunMulti { vmess_pass ray grpc; vmess_share up.example:443 name=multi; }
    location = /one/Tun { vmess_pass ray grpc; vmess_share up.example:443 name=one; }
    location = /a/b/Method { vmess_pass ray grpc; vmess_share up.example:443 name=method; }
    location /a/c { vmess_pass ray grpc; vmess_share up.example:443 'name=in a folder'; }
    location ~ ^/re { vmess_pass ray http; vmess_share [2001:db8::1]:443 path=/re1 tls=off name=h2; }
}
--- config
location /api/ { vmess_api main write; }
location /read/ { vmess_api main; }
location /ray {
    vmess_pass ray websocket;
    vmess_share 127.0.0.1:$TEST_NGINX_CLIENT_PORT;
    vmess_share cdn.example:443 tls=on host=h.example early_data=2048 fingerprint=chrome
                cipher=aes-128-gcm 'name=cdn of ${vmess_user}s, <$vmess_user>';
    vmess_share other.example:8443 external transport=kcp header=utp 'seed=a seed' name=$vmess_user;
    vmess_share other.example:8443 external transport=tcp cipher=zero;
}
--- servers
echo echo
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
vmess_users other:1m { bob %%BOB%%; }
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
server { listen 127.0.0.1:%%PORT_3%% udp reuseport; vmess main; vmess_kcp seed=s header=dns; proxy_pass vmess_target;
         vmess_share 192.0.2.1:4000; }
server { listen 127.0.0.1:%%PORT_4%% ssl; vmess main; proxy_pass vmess_target;
         ssl_certificate %%CERT%%; ssl_certificate_key %%KEY%%; vmess_share tls.example:443; }
server { listen 127.0.0.1:%%PORT_5%%; vmess other; proxy_pass vmess_target; vmess_share plain.example:80; }
server { listen 127.0.0.1:%%PORT_6%%; vmess main; proxy_pass vmess_target;
         vmess_http_header on path=/a path=/b host=h.example; vmess_share d.example:80; }
server { listen 127.0.0.1:%%PORT_7%%; vmess main; proxy_pass vmess_target;
         vmess_http_header on; vmess_share d.example:81 host=i.example path=/c name=i; vmess_share d.example:82 name=none; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
vmess_share 127.0.0.1:%%STREAM_PORT%%;
--- stream_client
my $links = links('alice');
my @all = qw(server port uuid network tls sni);

my %want = (
    '127.0.0.1 tcp' => 'server=127.0.0.1 port=' . stream_port() . " uuid=$User{alice} network=tcp tls=0 sni=",
    '127.0.0.1 ws' => 'server=127.0.0.1 port=' . http_port() . " uuid=$User{alice} network=ws tls=0 sni= "
                      . 'host=127.0.0.1 path=/ray early_data=0 cipher=auto',
    'cdn of alices, <alice>' => "server=cdn.example port=443 uuid=$User{alice} network=ws tls=1 sni=cdn.example "
                      . 'host=h.example path=/ray early_data=2048 cipher=aes-128-gcm fp=chrome',
    'alice' => "server=other.example port=8443 uuid=$User{alice} network=kcp tls=0 sni= header=utp seed=a seed",
    'other.example tcp' => "server=other.example port=8443 uuid=$User{alice} network=tcp tls=1 sni=other.example cipher=zero",
    'up' => 'server=up.example port=' . (stream_port() + 2) . " uuid=$User{alice} network=httpupgrade tls=1 sni=up.example "
            . 'host=up.example path=/up/ early_data=512',
    'xhttp' => 'server=up.example port=' . (stream_port() + 2) . " uuid=$User{alice} network=xhttp tls=1 sni=s.example "
               . 'host=s.example path=/up/ mode=packet-up',
    'grpc' => "server=up.example port=443 uuid=$User{alice} network=grpc tls=1 sni=up.example host= path=Svc mode=multi alpn=h2",
    'any grpc' => "server=up.example port=443 uuid=$User{alice} network=grpc tls=1 sni=up.example host= path=GunService mode=gun",
    'no name' => "server=up.example port=443 uuid=$User{alice} network=grpc tls=1 sni=up.example host= path= mode=gun",
    (map { $_->[0] => "server=up.example port=443 uuid=$User{alice} network=grpc tls=1 sni=up.example host= path=$_->[1] mode=$_->[2]" }
         ['multi', 'multi', 'multi'], ['one', 'one', 'gun'], ['method', '/a/b/Method', 'gun'], ['in a folder', 'a/c', 'gun']),
    'h2' => "server=2001:db8::1 port=443 uuid=$User{alice} network=h2 tls=0 sni= host= path=/re1",
    '192.0.2.1 kcp' => "server=192.0.2.1 port=4000 uuid=$User{alice} network=kcp tls=0 sni= header=dns seed=s",
    'tls.example tcp' => "server=tls.example port=443 uuid=$User{alice} network=tcp tls=1 sni=tls.example",
    'd.example http' => "server=d.example port=80 uuid=$User{alice} network=http tls=0 sni= host=h.example path=/a",
    'i' => "server=d.example port=81 uuid=$User{alice} network=http tls=0 sni= host=i.example path=/c",
    'none' => "server=d.example port=82 uuid=$User{alice} network=http tls=0 sni= host=d.example path=/",
);

for my $name (sort keys %want) {
    my $s = $links->{$name};
    ok($s, "$name: is there") or next;
    is(text($s, @all, ($want{$name} =~ / (host|path|early_data|cipher|fp|header|seed|mode|alpn)=/g)), $want{$name}, "$name: what it says");
}

is(join('|', grep { !$want{$_} } sort keys %$links), '', 'no other one');
is($links->{'192.0.2.1 kcp'}{forms}, 2, 'Shadowrocket has no mKCP');
is($links->{method}{forms}, 2, 'and no other method of gRPC');

# they lead here

for my $name ('127.0.0.1 tcp', '127.0.0.1 ws', 'up', 'tls.example tcp') {
    my $s = $links->{$name};
    my $port = $name =~ /^tls/ ? stream_port() + 4 : $s->{port};
    my $via = $s->{tls} ? tls(port => $port) : tcp($port);
    $via = ws(via => $via, path => $s->{path}, upgrade => $s->{network} ne 'ws' ? 1 : 0) if $s->{path};
    my $f = flow(via => $via, uuid => $s->{uuid}, to => 'echo', data => 'hello');
    is($f->read(5), 'hello', "$name: a transfer");
    $f->close;
}

# who may see them

is(join(' ', sort keys %{ links('alice') }), join(' ', sort keys %$links), 'the same once more');
is(api(HEAD => 'users/alice/links')->{text}, '', 'HEAD');
my $a = api(GET => 'users/mallory/links');
is("$a->{status} $a->{json}{error}{text}", '404 there is no user "mallory" in vmess_users "main"', 'nobody');
is(api(POST => 'users/alice/links', {})->{header}{allow}, 'GET, HEAD', 'what may be done');

{
    local $api->{base} = '/read/';
    $a = api(GET => 'users/alice/links');
    is($a->{status}, 405, 'without "write" there are none');
    unlike($a->{text}, qr/vmess:/, 'not at all');
}

# a user of the API, and another configuration

is(api(PUT => 'users/new%20one', { id => $User{mallory} })->{status}, 422, 'no name');
is(api(PUT => 'users/%E5%90%8D,=%22'  =~ s/%22//r, { id => $User{mallory} })->{status}, 201, 'a user');
my $user = "\x{540d},=";
$links = links('%E5%90%8D,=');
ok($links->{"cdn of ${user}s, <$user>"}, 'with the name in links');
is($links->{'127.0.0.1 tcp'}{uuid}, $User{mallory}, 'and the id');

edit_conf(sub { s/(vmess_share tls\.example:44)3;/${1}4 tls=off name=later;/ });
ok(reload(), 'a reload');
$links = links('alice');
is(text($links->{later}, qw(port tls)), 'port=444 tls=0', 'changes them');
ok(!$links->{'tls.example tcp'}, 'and forgets');


=== TEST 2: where nothing is shared
--- config
location /api/ { vmess_api main write; }
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
is(api(GET => 'users/alice/links')->{text}, '{"links":[]}', 'an empty list');

# what nginx -t says

refused('no address', qr/invalid number of arguments in "vmess_share"/, stream('vmess main; vmess_share;'));

for my $address ('x', 'x:', ':443', 'x:0', 'x:65536', 'x:y', '2001:db8::1', '[]:1', '1:2:3') {
    refused("address $address", qr/invalid address "\Q$address\E" in "vmess_share", .* in \S+:\d+/,
            stream("vmess main; vmess_share '$address';"));
}

for my $param (qw(name= transport=x transport= path= host= mode= header= seed= early_data=0 early_data=65536 tls=yes sni=
                  alpn= fingerprint= cipher=aes external=1), 'path=/' . 'x' x 1024, 'name=' . 'x' x 256)
{
    my ($name) = $param =~ /^(\w+)/;
    refused("parameter " . substr($param, 0, 30), qr/(?:invalid|unknown) parameter "$name=?.*/,
            stream("vmess main; vmess_share x:1 '$param';"));
}

refused('a variable ' . $_, qr/invalid parameter "name=\Q$_\E" in "vmess_share", the only variable there is \$vmess_user/,
        stream("vmess main; vmess_share x:1 'name=$_';"))
    for '$user', '${user}', '$', '$vmess_users', '$vmess_user1', 'a$vmess_user_', '${vmess_user';

my $path = 'an invalid path, "path=" must be written as in a request, and begin with "/" but for gRPC';

refused("$_->[0]", qr/"vmess_share x:1" in \S+:\d+ has \Q$_->[1]\E$/m, stream("vmess main; vmess_share x:1 external $_->[0];"))
    for ['transport=websocket path=ray', $path], ['transport=websocket', $path], ['transport=tcp sni=a/b', 'an invalid SNI'],
        ['transport=kcp tls=on', 'TLS over mKCP'], ['transport=quic tls=off', 'no TLS over QUIC'],
        ['transport=grpc mode=x', 'an unknown mode, "mode=" must be "gun" or "multi"'],
        ['transport=tcp fingerprint=ie', 'an unknown fingerprint, "fingerprint=" must be "chrome", "firefox", "safari", "ios",'
                                         . ' "android", "edge", "360", "qq", "random" or "randomized"'],
        ['transport=http "path=/a b"', $path], ['transport=tcp alpn=,', 'an invalid ALPN'];

refused('a strange host', qr/has an invalid host$/m, stream('vmess main; vmess_share a_b/c:1;'));
refused('without vmess', qr/"vmess_share" need "vmess" in the server/, stream('vmess_share x:1;'));
refused('another transport', qr/has a "transport=" that the server has not, use "external"/,
        stream('vmess main; vmess_share x:1 transport=quic;'));
refused('no transport', qr/is "external" and needs "transport="/, stream('vmess main; vmess_share x:1 external;'));
refused('without a socket', qr/is in a server without "listen", it belongs into the location with "vmess_pass"/,
        'server { vmess_listen y; vmess main; proxy_pass vmess_target; vmess_share x:1; }');
refused('mKCP without a seal', qr/"seal=none", which links cannot tell/,
        'server { listen 127.0.0.1:%%PORT_1%% udp reuseport; vmess main; vmess_kcp seal=none; proxy_pass vmess_target; vmess_share x:1; }');

refused('without vmess_pass', qr/"vmess_share x:1" in \S+:\d+ needs "vmess_pass" in its location/, '',
        location('vmess_share x:1;'));
refused('several transports', qr/needs "transport=", as "vmess_pass" of its location has several/, '',
        location('vmess_pass ray; vmess_share x:1;'));
refused('another one', qr/has a "transport=" that "vmess_pass" of its location has not/, '',
        location('vmess_pass ray grpc; vmess_share x:1 transport=websocket;'));
refused('external without one', qr/is "external" and needs "transport="/, '',
        location('vmess_pass ray grpc; vmess_share x:1 external;'));
refused('a regular expression', qr/needs "path=", its location is a regular expression/, '',
        location('vmess_pass ray websocket; vmess_share x:1;', 'location ~ ^/ray'));
refused('a named location', qr/needs "path=", its location has no path/, '',
        location('vmess_pass ray websocket; vmess_share x:1;', 'location @ray'));
refused('a path of other characters', qr/has \Q$path\E$/m, '',
        location('vmess_pass ray websocket; vmess_share x:1;', 'location "/a b"'));
refused('an error of a parameter', qr/invalid address/, '', location('vmess_pass ray websocket; vmess_share x;'));
refused('with and without TLS', qr/needs "tls=", the server listens with "ssl" and without/, '',
        location('vmess_pass ray websocket; vmess_share x:1;', undef,
                 'listen 127.0.0.1:%%PORT_2%%; listen 127.0.0.1:%%PORT_3%% ssl; ssl_certificate %%CERT%%; ssl_certificate_key %%KEY%%;'));
