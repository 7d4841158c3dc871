# examples/*.conf and the configuration in README.md: all are accepted by
# nginx -t, and flows really move through them.  The reference tells of every
# directive and variable, the notes on the protocol have what comments cite, and
# links of documents lead somewhere.
#
# What is changed before: load_module lines are those of the modules under
# test; ports, addresses and files are our own, as in %subst below, and all of
# loopback; "vmess main;" is followed by a rule that allows the targets of this
# test, which are on loopback.  The pings of WebSocket come sooner.  For an
# nginx without realip its directives are removed; without QUIC its example is
# refused, as it says itself.  Its flows over QUIC: t/interop/quic.t.

use v5.20;
use strict;
use warnings;

use lib 't/lib';

use File::Temp qw(tempdir);
use IO::Socket::INET;
use IO::Socket::SSL;
use MIME::Base64 qw(decode_base64);
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);
use VMess;
use VMess::GRPC;
use VMess::HTTP2;
use VMess::KCP;
use VMess::WebSocket;
use VMess::XHTTP;

my $nginx = $ENV{TEST_NGINX_BINARY} || 'nginx';
my $port = ($ENV{TEST_NGINX_STREAM_PORT} // 25300) + 6;
my $alice = 'b831381d-6324-4d53-ad4f-8cda48b30811';
my $bob = 'ad9f3f5b-3e55-4d6e-8d9a-5f2b5b1a3b44';
my $built = `$nginx -V 2>&1`;
my $realip = $built =~ /--with-stream_realip_module/
             && $built =~ /--with-http_realip_module/;
my $quic = $built =~ /--with-http_v3_module/;
my $limit = 10 * ($ENV{TEST_VMESS_SCALE} || 1);

my $dir = tempdir('vmess-examples-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
mkdir "$dir/$_" for qw(logs html tmp);
put("$dir/html/index.html", "a web site\n");

my (@pids, @connections, $running);
my $owner = $$;

my $target = target('target');
my $other = target('other');

system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
       . " -days 30 -subj /CN=example.com -keyout $dir/site.key"
       . " -out $dir/site.crt 2>/dev/null") == 0 or die 'openssl failed';

my %subst = (
    '127.0.0.53'            => "127.0.0.1:$target",     # never asked
    '127.0.0.1:8080'        => '127.0.0.1:' . ($port + 1),
    '127.0.0.1:8081'        => '127.0.0.1:' . ($port + 2),
    '127.0.0.1:8443'        => "127.0.0.1:$other",
    '8443 ssl'              => '127.0.0.1:' . ($port + 1) . ' ssl',
    '192.0.2.0/24'          => '127.0.0.0/8',
    '192.0.2.10:443'        => "127.0.0.1:$other",
    '192.0.2.11:443'        => "127.0.0.1:$other",
    '192.0.2.10:80'         => "127.0.0.1:$other",
    'intranet.example.com:443' => "127.0.0.1:$other",
    '/var/log/nginx'        => "$dir/logs",
    '/run/ngx_vmess.sock'   => "$dir/vmess.sock",
    '/run/ngx_vmess/api.sock' => "$dir/api.sock",
    '/run/ngx_vmess/status.sock' => "$dir/status.sock",
    'heartbeat=50s'         => 'heartbeat=1s',
);


# ---- all are accepted

my %example = map { s{^.*/}{}r => text($_) } glob 'examples/*.conf';
cmp_ok(keys %example, '>=', 12, 'the examples are there');

like($example{$_}, qr/^# \S/, "$_ says what it shows") for sort keys %example;

($example{'README.conf'}) = text('README.md') =~ /^```nginx\n(.*?)^```/ms;

for my $name (sort keys %example) {
    my $text = conf($name);

    unlike($text, qr/listen\s+(\d|unix:\/run)(?!27\.0\.0\.1)/,
           "$name listens where the test may");

    my $out = `$nginx -t -p $dir/ -c $dir/$name.test -e stderr 2>&1`;

    if ($name eq 'quic.conf' && !$quic) {
        like($out, qr/"vmess_quic" directive needs QUIC/, "$name needs QUIC");
        next;
    }

    is($?, 0, "$name is accepted") or diag $out;
    unlike($out, qr/\[(?!notice|warn)\w+\]/, "$name without complaints");
}


# ---- flows

start('vmess-tcp.conf');
is(flow(tcp()), 'target: hello', 'a flow by vmess-tcp.conf');
is(flow(tcp(), uuid => $bob, hangs => 1), '', 'nobody else has one');
stop();

start('vmess-tls-site.conf');
is(flow(tls()), 'target: hello', 'a flow by vmess-tls-site.conf');
is(get(tls()), "a web site\n", 'and the web site');
stop();

start('websocket.conf');
is(flow(ws()), 'target: hello', 'a flow by websocket.conf');
is(flow(ws(upgrade => 1)), 'target: hello', 'one by HTTPUpgrade');
my $early = VMess->new(uuid => $alice, host => '127.0.0.1', port => $target);
is($early->connect(ws(early => $early->header . $early->chunk('hello')),
                   quiet => 1)->read_all, 'target: hello', 'early data');
is(ws(early => VMess->new(uuid => $bob)->header)->status, 404,
   'early data of nobody');
is(get(tls()), "a web site\n", 'and the web site');
stop();

start('cdn.conf');
my $ws = ws(headers => ['X-Forwarded-For: 203.0.113.5, 198.51.100.99']);
ok($ws->wait(sub { grep { $_->[0] == VMess::WebSocket::PING } $ws->seen }),
   'a ping of an idle flow by cdn.conf');
is(flow($ws), 'target: hello', 'and its data');
is(get(tls()), "a web site\n", 'and the web site');
stop();
my $client = $realip ? '198.51.100.99' : '127.0.0.1';
like(text("$dir/logs/flows.log"), qr{^\S+\Q $client alice websocket \E
                                     \Q127.0.0.1:$target 5 13\E$}mx,
     'the client is who the CDN told, not who he said');

start('grpc.conf');
my $h2 = h2();
is(flow(grpc($h2, "/ray.Service/$_")), 'target: hello', "a flow by $_")
    for qw(Tun TunMulti);
my $nobody = VMess->new(uuid => $bob)->header;
is(grpc($h2, '/ray.Service/Tun', codec => undef, end => 1,
        data => VMess::GRPC->new->encode($nobody))->status, 404,
   'the site\'s answer to nobody');
is($h2->request('GET', '/', end => 1)->rest, "a web site\n",
   'and the web site on the same connection');
stop();

start('xhttp.conf');
for my $mode (qw(packet-up stream-up stream-one)) {
    is(flow(xhttp(\&h1, mode => $mode)), 'target: hello', "a flow by $mode");
    is(flow(xhttp(\&h2, mode => $mode)), 'target: hello', 'over HTTP/2');
}
is(h2()->request('GET', '/files/', end => 1)->status, 404,
   'the site without padding');
is(get(tls()), "a web site\n", 'and the web site');
stop();
unlike(text("$dir/logs/access.log"), qr/files/, 'no line for a packet');

start('transports.conf');
$h2 = h2();
is(flow(ws()), 'target: hello', 'WebSocket by transports.conf');
is(flow(ws(upgrade => 1)), 'target: hello', 'HTTPUpgrade');
is(flow($h2->request('PUT', '/ray')), 'target: hello', 'HTTP/2');
is(flow(grpc($h2, '/ray/Tun')), 'target: hello', 'gRPC');
is(flow(xhttp(sub { $h2 }, path => '/ray/')), 'target: hello', 'XHTTP');
is($h2->request('POST', '/ray/', data => 'a form', end => 1)->status, 404,
   'a form is the site\'s');
stop();
is_deeply([text("$dir/logs/flows.log") =~ /^\S+ 127\.0\.0\.1 alice (\w+)/mg],
          [qw(websocket httpupgrade http grpc xhttp)], 'all are logged');

start('one-port.conf');
$h2 = h2();
is(flow(tls()), 'target: hello', 'TLS alone by one-port.conf');
is(flow(ws()), 'target: hello', 'WebSocket on the same port');
is(flow(ws(upgrade => 1)), 'target: hello', 'HTTPUpgrade');
is(flow($h2->request('PUT', '/ray')), 'target: hello', 'HTTP/2');
is(flow(grpc($h2, '/ray/Tun')), 'target: hello', 'gRPC');
is(flow(xhttp(sub { $h2 }, path => '/ray/')), 'target: hello', 'XHTTP');
is(get(tls()), "a web site\n", 'and the web site');
is($h2->request('GET', '/', end => 1)->rest, "a web site\n",
   'over HTTP/2 as well');
stop();
is_deeply([text("$dir/logs/flows.log") =~ /^\S+ 127\.0\.0\.1 alice (\w+)/mg],
          [qw(tls websocket httpupgrade http grpc xhttp)], 'all are logged');

if ($quic) {
    start('quic.conf');
    is(flow(tls()), 'target: hello', 'a flow over TLS by quic.conf');
    is(get(tls()), "a web site\n", 'and the web site');
    stop();
    like(text("$dir/logs/flows.log"), qr/ alice tls /, 'it is logged');
}

start('routing.conf');
is(flow(tcp()), 'target: hello', 'a flow to its own target');
is(flow(tcp(), port => $other), 'other: hello', 'one to an upstream');
is(flow(tcp(), host => 'a.corp.example.com', port => 80), 'other: hello',
   'one by a name');
is(flow(tcp(), port => 25), '', 'none to a port that is denied');
stop();

start('limits.conf');
is(flow(tcp()), 'target: hello', 'a flow by limits.conf');
is(flow(tcp(), uuid => $bob), 'target: hello', 'one of a user with a rate');
is(flow(tcp(), sec => 'zero'), '', 'none with another cipher');
stop();

start('logging.conf');
is(flow(tcp()), 'target: hello', 'a flow by logging.conf');
my $probe = tcp();
print $probe "GET / HTTP/1.0\r\n\r\n";
sysread $probe, my $nothing, 1;
stop();

like(text("$dir/logs/flows.log"),
     qr{^\S+\Q 127.0.0.1 alice 200 ok tcp/aes-128-gcm 127.0.0.1:$target\E
        \Q 127.0.0.1:$target up=5 down=13\E[ ][\d.]+$}mx, 'it is logged');
like(text("$dir/logs/probes.log"), qr/^\S+ 127\.0\.0\.1 unknown 18 [\d.]+$/m,
     'and who is not a user');
like(text("$dir/logs/error.log"),
     qr/\[info\] .* client sent no VMess header of a known user/,
     'with the reason');

start('balancer.conf');
is(flow(told()), 'target: hello', 'a flow by balancer.conf');
is(flow(told(), uuid => $bob, hangs => 1), '', 'none without a user');
stop();
like(text("$dir/logs/error.log"),
     !$realip ? qr/no VMess header of a known user/
     : qr/no VMess header of a known user\b.*, client: 192\.0\.2\.99,/,
     'the client is who the balancer told');

start('README.conf');
is(flow(tls()), 'target: hello', 'a flow by that of README.md');
stop();

start('mkcp.conf');
{
    local $VMess::KCP::Seed = 'secret';
    local $VMess::KCP::Header = 'x' x 13;
    is(flow(VMess::KCP::connect($port)), 'target: hello', 'a flow by mkcp.conf');
}
stop();
like(text("$dir/logs/flows.log"), qr/ alice mkcp 127\.0\.0\.1:$target 5 13$/m,
     'it is logged');

start('unix-socket.conf');
is(flow(tls('vmess.example.com')), 'target: hello', 'a flow by its TLS name');
stop();


start('subscription.conf');
is(flow(ws()), 'target: hello', 'a flow by subscription.conf');
my ($token) = `curl -s --max-time $limit --unix-socket $dir/api.sock http://localhost/users/alice`
    =~ /"token":"([^"]+)"/;
like(decode_base64(get(tls(), "/sub/$token")), qr{^vmess://\S+\n\z}, 'a subscription');
is(get(tls()), "a web site\n", 'and the web site');
stop();
is(text("$dir/logs/error.log") =~ /\Q$token/, '', 'the token is not in the log');


# the calls in the reference, one after the other

start('api.conf');
is(flow(tcp()), 'target: hello', 'a flow by api.conf');

calls('api.sock', 10);
stop();

start('status.conf');
is(flow(tcp()), 'target: hello', 'a flow by status.conf');
calls('status.sock', 4);
like(`curl -s --max-time $limit http://127.0.0.1:@{[ $port + 1 ]}/metrics/prometheus`,
     qr/^nginx_vmess_flows_total\{zone="main",carrier="tcp"\} 1$/m, 'metrics');
stop();

put("$dir/vmess.htpasswd", 'admin:{PLAIN}secret' . "\n");
start('page.conf');
is(flow(tcp()), 'target: hello', 'a flow by page.conf');
my $page = "curl -sk --max-time $limit -H 'Accept: text/html' https://127.0.0.1:@{[ $port + 1 ]}";
like(`$page/`, qr/401 Authorization Required/, 'the page needs a password');
like(`$page/api/`, qr/401 Authorization Required/, 'and so does the API');
like(`$page/ -u admin:secret`, qr/<title>vmess_status/, 'the page');
like(`$page/api/ -u admin:secret`, qr/"write":true/, 'and the API');
like(`$page/json -u admin:secret`, qr{"api":"/api/"}, 'which it knows');
stop();


# ---- the reference

my $docs = text('docs/ngx_stream_vmess_module.md');
my $src = join '', map { text($_) } glob 'src/stream/*.c';

my @directives = $src =~ /\{ ngx_string\("(vmess(?:_\w+)?)"\),\s+NGX_STREAM/g;
my $http = text('docs/ngx_http_vmess_module.md');
my @locations = join('', map { text($_) } glob 'src/http/*.c')
    =~ /\{ ngx_string\("(vmess_\w+)"\),\s+NGX_HTTP/g;
my @variables = $src =~ /\{ ngx_string\("(vmess_\w+)"\), NULL,/g;

cmp_ok(@directives, '>=', 9, 'directives were found in the source');
cmp_ok(@variables, '>=', 11, 'so were variables');

like($docs, qr/^### $_\n\n> \*\*Syntax:\*\* \*\*`$_`/m, "$_ is documented")
    for @directives;
like($http, qr/^### $_\n\n> \*\*Syntax:\*\* \*\*`$_`/m, "$_ is documented")
    for @locations;
like($docs, qr/^- `\$$_`:\n/m, "\$$_ is documented") for @variables;


# ---- other documents

my %cited = map { $_ => 1 }
            map { text($_) =~ /(?:VMess|XUDP),[\s*]+"([^"]+)"/g }
            glob 'src/*/*.[ch]';
my $protocol = text('docs/protocol.md');

cmp_ok(keys %cited, '>=', 10, 'citations were found in the source');

like($protocol, qr/^(?:## \d+\. \Q$_\E$|\d+\.\d+\. \Q$_\E:)/m,
     "\"$_\" is in protocol.md") for sort keys %cited;

for my $file ('README.md', glob('docs/*.md'), glob('t/*.md')) {
    my $top = $file =~ s|[^/]+$||r;
    my @bad;

    for (text($file) =~ /\]\((?!https?:)([^)\s]+)\)/g) {
        my ($path, $anchor) = split /#/;
        $path = length $path ? $top . $path : $file;
        push @bad, $_
            unless -e $path && (!defined $anchor || anchors($path)->{$anchor});
    }

    is("@bad", '', "links of $file");
}

done_testing();


# the calls of the reference on a socket, and what they answer

sub calls {
    my ($sock, $n) = @_;

    my @calls = text('docs/ngx_http_vmess_module.md')
        =~ /^    \$ (curl .*\Q$sock\E .*)\n((?:    (?!\$).*\n)*)/mg;
    cmp_ok(@calls / 2, '>=', $n, "there are calls on $sock");

    while (my ($call, $answer) = splice @calls, 0, 2) {
        my ($want) = map { s/^\s+|\s+$//gr =~ s/\n    /\n/gr } $answer;
        my $pattern = join '.+', map { quotemeta } split /\.\.\./, $want, -1;

        $call =~ s/\Q$_\E/$subst{$_}/g for "/run/ngx_vmess/$sock";
        $call =~ s/^curl /curl -s --max-time $limit /;

        like(`$call`, qr/^$pattern$/s, $call =~ s/.*localhost//r);
    }
}


# anchors that headings get

sub anchors {
    my ($file) = @_;

    return { map { lc() =~ s/[^\w\- ]//gr =~ tr/ /-/r => 1 }
             text($file) =~ /^#+ (.*)$/mg };
}


# ---- configurations

sub conf {
    my ($name) = @_;

    my $text = $example{$name};

    $text =~ s/^load_module .*\n//mg;
    $text =~ s/\Q$_\E/$subst{$_}/g
        for sort { length $b <=> length $a } keys %subst;
    $text =~ s/(listen\s+)(?:10086|443)\b/${1}127.0.0.1:$port/g;
    $text =~ s/(vmess\s+main;)/$1 vmess_allow 127.0.0.1 $target,$other;/g;
    $text =~ s/^\s*(set_real_ip_from|real_ip_\w+)\s.*\n//mg if !$realip;
    $text =~ s{(?<=^http \{\n)}{join '', "access_log $dir/logs/access.log;\n",
                                map "${_}_temp_path $dir/tmp/$_;\n",
                                qw(client_body proxy fastcgi uwsgi scgi)}me;

    my $top = join '', map { "load_module $_;\n" }
                       split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '';
    $top .= "pid $dir/nginx.pid;\n";
    $top .= "error_log $dir/logs/error.log info;\n"
        unless $text =~ /^error_log/m;

    put("$dir/$name.test", $top . $text);

    return $text;
}


sub start {
    my ($name) = @_;

    unlink glob "$dir/logs/*";

    my $rc = system "$nginx -p $dir/ -c $dir/$name.test -e $dir/logs/error.log"
                    . " >$dir/start.out 2>&1";
    is($rc, 0, "$name starts") or diag text("$dir/start.out");
    $running = $name;
}


sub stop {
    my $until = time + $limit;

    $_->close for splice @connections;

    system "$nginx -p $dir/ -c $dir/$running.test -e $dir/logs/error.log"
           . " -s quit >/dev/null 2>&1";
    sleep 0.02 while -e "$dir/nginx.pid" && time < $until;

    ok(!-e "$dir/nginx.pid", "$running ends");
    my @bad = grep { /\[(alert|crit|emerg)\]/ }
              split /^/, text("$dir/logs/error.log");
    is("@bad", '', "$running without alerts");
    undef $running;
}


# ---- clients and targets

# a server of one sort: says its name before what it gets

sub target {
    my ($name) = @_;

    my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64)
        or die "listen: $!";

    my $pid = fork // die "fork: $!";

    if ($pid) {
        push @pids, $pid;
        return $l->sockport;
    }

    alarm 600;

    while (my $c = $l->accept) {
        if (sysread $c, my $buf, 4096) {
            $buf =~ s/^PROXY.*\r\n//;
            syswrite $c, "$name: $buf";
        }
        close $c;
    }

    POSIX::_exit(0);
}


sub connected {
    my ($class, @args) = @_;
    my $until = time + $limit;

    while (time < $until) {
        my $s = $class->new(PeerAddr => "127.0.0.1:$port", Timeout => $limit,
                            @args);
        return $s if $s;
        sleep 0.05;
    }

    die "no connection to port $port: $@ $IO::Socket::SSL::SSL_ERROR\n";
}


sub tcp { return connected('IO::Socket::INET') }

# by a balancer
sub told {
    my $s = tcp();
    print $s "PROXY TCP4 192.0.2.99 192.0.2.1 50000 10086\r\n";
    return $s;
}

sub tls {
    my ($name) = @_;
    return connected('IO::Socket::SSL', SSL_verify_mode => 0,
                     SSL_hostname => $name // 'example.com');
}

sub ws { return VMess::WebSocket->new(tls(), @_) }


# HTTP/2, and gRPC on such a connection

sub h2 {
    push @connections, VMess::HTTP2->new(connected('IO::Socket::SSL',
        SSL_verify_mode => 0, SSL_hostname => 'example.com',
        SSL_alpn_protocols => ['h2']));
    return $connections[-1];
}

sub grpc {
    my ($c, $path, %o) = @_;
    return $c->request('POST', $path, codec => VMess::GRPC->new, %o,
                       headers => ['content-type' => 'application/grpc',
                                   te => 'trailers']);
}


# XHTTP, on several connections, with packets in any order

sub h1 {
    push @connections, VMess::XHTTP::H1->new(tls());
    return $connections[-1];
}

sub xhttp {
    my ($connect, %o) = @_;
    return VMess::XHTTP->new(connect => $connect, path => '/files/',
                             packet => 20, shuffle => 3, %o);
}


# a flow by a socket, and its answer to "hello"

sub flow {
    my ($sock, %o) = @_;
    my $hangs = delete $o{hangs};

    my $flow = VMess->new(uuid => $alice, host => '127.0.0.1', port => $target,
                          %o);
    $flow->connect($sock, data => 'hello');
    $flow->shut if $hangs;
    return $flow->read_all;
}


sub get {
    my ($s, $path) = @_;
    $path //= '/';
    print $s "GET $path HTTP/1.0\r\nHost: example.com\r\n\r\n";
    my $answer = do { local $/; <$s> } // '';
    return $answer =~ s/^.*?\r\n\r\n//sr;
}


# ---- files

sub text {
    open my $fh, '<', $_[0] or return '';
    local $/;
    return <$fh> // '';
}

sub put {
    open my $fh, '>', $_[0] or die "$_[0]: $!";
    print $fh $_[1];
    close $fh or die "$_[0]: $!";
}

END {
    if ($$ == ($owner // 0)) {
        my $status = $?;
        stop() if $running;
        kill 'TERM', @pids;
        waitpid $_, 0 for @pids;
        $? = $status;
    }
}
