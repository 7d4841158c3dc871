# vmess_status: what is counted, and the formats it is told in.

use lib "t/lib";
use TestVMess;
use VMess::API;
use VMess::GRPC;
use VMess::HTTP2;
use VMess::KCP;
use VMess::Mux;
use VMess::XHTTP;

plan "no_plan";
no_shuffle();
workers(2);

our $write = 'location /status/ { vmess_status main; } location /few { vmess_status main users=2; }'
             . ' location /none { vmess_status main users=0; } location /api/ { vmess_api main write; }';

sub get {
    my ($path, %headers) = @_;
    my $base = $path =~ m{^/} ? '' : '/status/';
    return VMess::API->new(connect => sub { tcp(http_port()) }, base => $base)
                     ->request(GET => $path, undef, %headers);
}

sub json { return get('json')->{json} }

# samples of metrics: text of each to its value; dies of a line that is none

sub metrics {
    my ($text) = @_;
    my $label = qr/[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*"/;
    my (%sample, %type, $family);

    for (split /\n/, $text) {
        if (/^# HELP (\w+) \S.*$/) {
            $family = $1;
            die "twice: $_\n" if $type{$family};
            $type{$family} = 'none';
            next;
        }
        if (/^# TYPE (\w+) (\w+)$/) {
            die "of another family: $_\n" if $1 ne $family;
            $type{$family} = $2;
            next;
        }
        if (/^# UNIT (\w+)_([a-z]+) ([a-z]+)$/) {
            die "of another family: $_\n" if "${1}_$2" ne $family || $2 ne $3;
            next;
        }
        next if $_ eq '# EOF';

        my ($name, $labels, $value) = /^(\w+)((?:\{$label(?:,$label)*\})?) (\d+)$/
            or die "no sample: $_\n";
        die "twice: $_\n" if exists $sample{"$name$labels"};
        die "of another family: $_\n" if $name !~ /^\Q$family\E(?:_total|_info|_bucket|_sum|_count)?$/;
        $sample{"$name$labels"} = $value;
    }

    die "not a line: $text\n" if $text !~ /\n\z/;
    return (\%sample, \%type);
}

sub sample {
    my ($name) = @_;
    my ($samples) = metrics(get('prometheus')->{text});
    return $samples->{$name};
}

# carriers by their names, with what is not zero: "tcp: headers.ok=1 total=1"

sub carriers {
    my ($json) = @_;
    return join "\n", map {
        my $c = $_;
        my %n = map {
            my $k = $_;
            ref $c->{$k} ? map { ("$k.$_" => $c->{$k}{$_}) } keys %{ $c->{$k} } : ($k => $c->{$k})
        } grep { $_ ne 'carrier' } keys %$c;
        my $text = join ' ', map { "$_=$n{$_}" } grep { $n{$_} } sort keys %n;
        $text ? "$c->{carrier}: $text" : ();
    } @{ $json->{carriers} };
}

sub counts { return carriers(json()) }

run_tests();

__DATA__

=== TEST 1: an empty zone in all formats
--- config eval: $::write
--- stream_config
vmess_users main:1m { alice %%ALICE%% quota=1g expires=2040-01-31 max_ips=2; bob %%BOB%% disabled; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $a = get('json');
is("$a->{status} $a->{header}{'content-type'}", '200 application/json', 'JSON');
is($a->{header}{'cache-control'}, 'no-store', 'which is not kept');
is($a->{header}{vary}, 'Accept', 'and one of several');
my $j = $a->{json};
is("@{$j}{qw(zone users up down flows omitted)}", 'main 2 0 0 0 0', 'what the zone is');
like(`head -2 docs/CHANGES`, qr/\Q$j->{version}\E/, 'the version');
is("@{ $j->{status} }{qw(active disabled limited expired on_hold)}", '1 1 0 0 0', 'users by status');
is(main::carriers($j), '', 'nothing was counted');
is(join(' ', map { $_->{carrier} } @{ $j->{carriers} }),
   'tcp tls mkcp quic websocket httpupgrade http grpc xhttp', 'carriers');
is(scalar @{ $j->{hour}{$_} }, 60, "minutes $_") for qw(up down);
ok($j->{$_}{used} <= $j->{$_}{size} && $j->{$_}{size}, "room for $_") for qw(memory replay addresses history);
ok($j->{memory}{used}, 'users take some');
is($j->{history}{used}, 0, 'nobody has a history');
is(scalar @{ $j->{workers} }, 2, 'workers');
is(join(' ', map { $_->{generation} } @{ $j->{workers} }), '1 1', 'of the first configuration');
is(join(' ', sort map { $_->{pid} } @{ $j->{workers} }), join(' ', sort(children())), 'their pids');
my ($alice) = grep { $_->{name} eq 'alice' } @{ $j->{top} };
is("@{$alice}{qw(status quota used expires addresses)}", 'active 1073741824 0 2040-01-31T00:00:00Z 0', 'a user');

for my $how (['prometheus', 'text/plain; version=0.0.4; charset=utf-8'],
             ['openmetrics', 'application/openmetrics-text; version=1.0.0; charset=utf-8'])
{
    my ($name, $type) = @$how;
    $a = get($name);
    is("$a->{status} $a->{header}{'content-type'}", "200 $type", $name);
    my ($s, $t) = main::metrics($a->{text});
    my $om = $name eq 'openmetrics';
    is($a->{text} =~ /\n# EOF\n\z/ ? 1 : 0, $om ? 1 : 0, 'the end is told, or not');
    is(scalar(grep { $_ eq 'none' } values %$t), 0, 'families have types');
    is($t->{$om ? 'nginx_vmess_bytes' : 'nginx_vmess_bytes_total'}, 'counter', 'a counter');
    is($t->{$om ? 'nginx_vmess_build' : 'nginx_vmess_build_info'}, $om ? 'info' : 'gauge', 'and info');
    is($t->{nginx_vmess_clock_skew_seconds}, 'histogram', 'and a histogram');
    is($a->{text} =~ /^# UNIT nginx_vmess_bytes bytes$/m ? 1 : 0, $om ? 1 : 0, 'units, or not');
    is($s->{'nginx_vmess_users{zone="main",status="disabled"}'}, 1, 'a user disabled');
    is($s->{'nginx_vmess_user_quota_bytes{zone="main",user="alice"}'}, 1073741824, 'a quota');
    ok(!exists $s->{'nginx_vmess_user_quota_bytes{zone="main",user="bob"}'}, 'or none');
    is($s->{'nginx_vmess_user_expires_timestamp_seconds{zone="main",user="alice"}'}, 2211580800, 'an end');
    is($s->{'nginx_vmess_headers_total{zone="main",carrier="tls",status="ok"}'}, 0, 'no header');
    is($s->{'nginx_vmess_users_omitted{zone="main"}'}, 0, 'nobody is left out');
    ok(abs($s->{'nginx_vmess_start_time_seconds{zone="main"}'} - time) < 60 * $Scale, 'when it began');
    is(scalar(grep { /^nginx_vmess_worker_connections\{zone="main",pid="\d+",generation="1"\}/ } keys %$s), 2, 'workers');
}

# the board in examples

my ($shown) = main::metrics(get('prometheus')->{text});
my %served = map { s/\{.*//r => 1 } keys %$shown;
$served{"nginx_vmess_$_"} = 1 for qw(refused_flows_total);    # nothing was refused
open my $fh, '<', 'examples/grafana.json' or die $!;
my $board = do { local $/; <$fh> };
my %used = map { $_ => 1 } $board =~ /\b(nginx_vmess_\w+)/g;
cmp_ok(keys %used, '>=', 20, 'metrics of the board');
is(join(' ', grep { !$served{$_} } sort keys %used), '', 'which are all there');
ok(JSON::PP->new->decode($board)->{panels}, 'and it is JSON');

my %accept = (
    '' => 'json', '*/*' => 'json', 'application/json' => 'json',
    'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' => 'text/html',
    'text/plain' => '0.0.4', 'TEXT/PLAIN;version=0.0.4;q=0.5,*/*;q=0.1' => '0.0.4',
    'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,'
    . 'text/plain;version=0.0.4;q=0.5,*/*;q=0.1' => '1.0.0');
like(get('', Accept => $_)->{header}{'content-type'}, qr/\Q$accept{$_}\E/, "Accept: $_") for sort keys %accept;
like(get('?format=prometheus', Accept => 'application/json')->{header}{'content-type'}, qr/0\.0\.4/, 'format=');
like(get('json?format=prometheus', Accept => 'text/plain')->{header}{'content-type'}, qr/json/, 'the path');
is(get('/few')->{status}, 200, 'a location without a slash');

is(get("$_")->{status}, 404, "$_ is nowhere") for qw(x json/ users/ users/alice), 'users//history', 'users/carol/history';
like(get('x')->{json}{error}{text}, qr/openmetrics/, 'what there is');
is(get("?$_")->{status}, 400, $_) for qw(format=x format= names=x names=);
my $post = VMess::API->new(connect => sub { tcp(http_port()) }, base => '/status/')->request(POST => 'json', {});
is("$post->{status} $post->{header}{allow}", '405 GET, HEAD', 'POST');
my $head = VMess::API->new(connect => sub { tcp(http_port()) }, base => '/status/')->request(HEAD => '');
is("$head->{status} $head->{text}", '200 ', 'HEAD');

is(join(' ', sort map { $_->{name} } @{ get('users?fields=name,status')->{json}{users} }), 'alice bob', 'the list of the API');
unlike(get('users')->{text}, qr/"(?:id|token)"/, 'without ids and tokens');
unlike(get('users?fields=name,id,also,token')->{text}, qr/"(?:id|also|token)"/, 'nor if they are asked for');
my $h = get('users/alice/history')->{json};
is("$h->{name} $h->{known} @{ $h->{up} }[0,59]", 'alice 0 0 0', 'the history of a user without traffic');
--- stream_response: 1


=== TEST 2: counters of verdicts, carriers, clocks, bytes and guesses
--- config eval: $::write . ' location /ws { vmess_pass ws; root html; }'
--- servers
echo echo
--- stream_config
vmess_users main:1m { alice %%ALICE%%; bob %%BOB%% max_conns=1; carol 3a1f0a5e-0c55-4a6c-9a52-0e9b4f5d7c11 disabled; }
resolver 127.0.0.1;
vmess_allow 127.0.0.1;
server { vmess_listen ws; vmess main; proxy_pass vmess_target; }
server { listen 127.0.0.1:%%PORT_2%% ssl; ssl_certificate %%CERT%%; ssl_certificate_key %%KEY%%;
         vmess main; vmess_deny 127.0.0.1; proxy_pass vmess_target; }
--- no_defaults
--- stream_server_config
vmess main;
vmess_ciphers aes-128-gcm;
vmess_handshake_timeout 300ms;
proxy_pass vmess_target;
--- stream_client
my $f = flow(to => 'echo', data => 'hello', skew => 20);
is($f->read(5), 'hello', 'a flow');
wait_for(sub { counts() =~ /down=5/ });
is(counts(), 'tcp: down=5 flows=1 headers.ok=1 total=1 up=5', 'is counted');
my $w = flow(via => ws(path => '/ws'), to => 'echo', data => 'x' x 5000, skew => -70);
is(length $w->read(5000), 5000, 'one by WebSocket');
wait_for(sub { counts() =~ /websocket: down=5000/ });
is((split /\n/, counts())[1], 'websocket: down=5000 flows=1 headers.ok=1 total=1 up=5000', 'is another carrier\'s');
my $j = json();
is("$j->{up} $j->{down} $j->{flows}", '5005 5005 2', 'sums');
is("$j->{hour}{up}[59]" + $j->{hour}{up}[58], 5005, 'in the last minutes');
is("@{ $j->{skew}{ahead}{counts} } $j->{skew}{ahead}{sum}" =~ s/\b(?:19|21)\b/20/r, '0 0 0 0 0 1 0 0 0 20', 'a clock ahead');
like("@{ $j->{skew}{behind}{counts} } $j->{skew}{behind}{sum}", qr/^0 0 0 0 0 0 0 1 0 7[01]$/, 'and one behind');
is(sample('nginx_vmess_clock_skew_seconds_bucket{zone="main",clock="ahead",le="10.0"}'), 0, 'below');
is(sample('nginx_vmess_clock_skew_seconds_bucket{zone="main",clock="ahead",le="30.0"}'), 1, 'in');
is(sample('nginx_vmess_clock_skew_seconds_bucket{zone="main",clock="ahead",le="+Inf"}'), 1, 'above');
is(sample('nginx_vmess_clock_skew_seconds_count{zone="main",clock="behind"}'), 1, 'their number');
my $h = get('users/alice/history')->{json};
is(($h->{up}[59] || $h->{up}[58]) . " $h->{known}", '4096 1', 'the history of the user, in KiB');

# what is refused, one by one

sub drained { my $f = shift; $f->read_eof; return }

my @refused = (
    unknown => sub { drained(flow(user => 'mallory', port => 9, data => 'x' x 5000)) },
    disabled => sub { drained(flow(uuid => '3a1f0a5e-0c55-4a6c-9a52-0e9b4f5d7c11', port => 9, data => 'x' x 5000)) },
    'time' => sub { drained(flow(skew => 3000, port => 9, data => 'x' x 5000)) },
    max_conns => sub {
        our $held = flow(user => 'bob', to => 'echo', data => 'a');
        is($held->read(1), 'a', 'the one flow of bob');
        drained(flow(user => 'bob', to => 'echo', data => 'x' x 5000));
        $held->close;
    },
    replay => sub {
        my $v = vmess(to => 'echo');
        my $bytes = $v->header . $v->chunk('x' x 5000);
        for (1, 2) { my $s = tcp(); put($s, $bytes); $s->shutdown(1); slurp($s) }
    },
    cipher => sub { drained(flow(sec => 'chacha20-poly1305', to => 'echo', data => 'x' x 5000)) },
    truncated => sub { my $s = tcp(); put($s, 'GET / HTT'); $s->shutdown(1); slurp($s) },
    timeout => sub { my $s = tcp(); put($s, "\x16\x03\x01"); slurp($s) });

while (my ($status, $do) = splice @refused, 0, 2) {
    my $name = qq(nginx_vmess_headers_total{zone="main",carrier="tcp",status="$status"});
    my $all = sub { my $n = 0; for my $c (@{ json()->{carriers} }) { $n += $_ for values %{ $c->{headers} } } return $n };
    my ($before, $total) = (sample($name) // 0, $all->());
    $do->();
    wait_for(sub { (sample($name) // 0) == $before + 1 });
    is(sample($name), $before + 1, "one more is $status");
    is($all->() - $total - 1, $status =~ /replay|max_conns/ ? 1 : 0, 'and no other one, but what was good before');
}

$j = json();
is(join(' ', map { "$_=$j->{unknown}{$_}" } sort keys %{ $j->{unknown} }), 'HTTP=1 TLS=1 random bytes=1', 'what they looked like');
is(sample('nginx_vmess_unknown_clients_total{zone="main",looks_like="TLS"}'), 1, 'a metric of it');
is(sample('nginx_vmess_unknown_clients_total{zone="main",looks_like="SSH"}'), 0, 'and of another one');

# a good header, and a target that is not allowed

flow(via => tls(port => stream_port() + 2), to => 'echo', data => 'x')->read_eof;
wait_for(sub { counts() =~ /^tls: /m && counts() !~ /^tls: .*flows=/m });
like(counts(), qr/^tls: .*headers\.ok=1 refused\.denied=1 total=1/m, 'denied');
is(sample('nginx_vmess_refused_flows_total{zone="main",carrier="tls",status="denied"}'), 1, 'a metric of it');

# sub-connections, which are flows of the carrier of their connection

my $total = sample('nginx_vmess_flows_total{zone="main",carrier="tcp"}');
my $m = VMess::Mux->new(flow(cmd => 'mux', user => 'bob'));
$m->open(1, port => port('echo'), data => 'hello');
is($m->read(1, 5), 'hello', 'a sub-connection');
$m->open(2, port => port('echo'), data => 'hello');
$m->ended(2);
is(sample('nginx_vmess_flows_total{zone="main",carrier="tcp"}'), $total + 1, 'is a flow');
is(sample('nginx_vmess_refused_flows_total{zone="main",carrier="tcp",status="max_conns"}'), 1, 'and one was refused');
$m->{flow}->close;
$_->close for $f, $w;
wait_for(sub { json()->{flows} == 0 });
is(sample(qq(nginx_vmess_open_flows{zone="main",carrier="$_"})), 0, "no flow of $_ is open") for qw(tcp websocket tls);
1;
--- stream_response: 1


=== TEST 3: a reload, and workers that are killed
--- config eval: $::write
--- servers
echo echo
--- may_alert
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @f = map { flow(to => 'echo', data => 'hello') } 1 .. 8;
is($_->read(5), 'hello', 'a flow') for @f;
wait_for(sub { counts() =~ / up=40/ });
is(counts(), 'tcp: down=40 flows=8 headers.ok=8 total=8 up=40', 'flows');
my @old = children();
reload();
is(counts(), 'tcp: down=40 flows=8 headers.ok=8 total=8 up=40', 'counters go on, and flows at old workers');
wait_for(sub { grep { $_->{generation} == 2 } @{ json()->{workers} } });
ok((grep { $_->{generation} == 1 } @{ json()->{workers} }), 'old workers are told apart');
push @f, flow(to => 'echo', data => 'hello');
is($f[-1]->read(5), 'hello', 'one more');
wait_for(sub { counts() =~ / up=45/ });
is(counts(), 'tcp: down=45 flows=9 headers.ok=9 total=9 up=45', 'at new ones');

kill 'KILL', @old;
wait_for(sub { json()->{flows} == 1 });
wait_for(sub { counts() =~ /flows=1 / });
is(counts(), 'tcp: down=45 flows=1 headers.ok=9 total=9 up=45', 'what died has counted, and is not open');
kill 'KILL', children();
wait_for(sub { workers_alive() == 2 });
wait_for(sub { counts() =~ /down=45 headers/ });
is(counts(), 'tcp: down=45 headers.ok=9 total=9 up=45', 'nothing is lost');
is(flow(to => 'echo', data => 'hello')->read(5), 'hello', 'and');
wait_for(sub { counts() =~ / up=50/ });
like(counts(), qr/headers\.ok=10 total=10/, 'new workers go on');

# users who go, and others of their names

my $api = VMess::API->new(connect => sub { tcp(http_port()) }, base => '/api/');
my $id = '3a1f0a5e-0c55-4a6c-9a52-0e9b4f5d7c1';
my $carol = sub {
    my ($n) = @_;
    is($api->request(PUT => 'users/carol', { id => "$id$n" })->{status}, 201, 'a user');
    my $f = flow(uuid => "$id$n", to => 'echo', data => 'x' x 5000);
    is(length $f->read(5000), 5000, 'with a flow');
    wait_for(sub { get('users/carol/history')->{json}{known} && counts() =~ /flows=1 / });
    return $f;
};
my $known = sub { my $h = get('users/carol/history')->{json}; return "$h->{known} " . ($h->{up}[59] || $h->{up}[58]) };
my $gone = $carol->(1);
is($known->(), '1 4096', 'her history');
is($api->request(DELETE => 'users/carol')->{status}, 204, 'is removed');
is(get('users/carol/history')->{status}, 404, 'with her history');
is($gone->read_eof, '', 'and her flow ends');
wait_for(sub { counts() =~ /down=5050 headers/ });
is(counts(), 'tcp: down=5050 headers.ok=11 total=11 up=5050', 'what she had transferred stays counted');
is($api->request(PUT => 'users/carol', { id => "${id}2" })->{status}, 201, 'another user of her name');
is($known->(), '0 0', 'has no history');
is($api->request(DELETE => 'users/carol')->{status}, 204, 'and is removed');
$gone = $carol->(3);
is($api->request(DELETE => 'users/carol')->{status}, 204, 'one who is removed');
is($api->request(PUT => 'users/carol', { id => "${id}3" })->{status}, 201, 'and comes back');
wait_for(sub { counts() =~ /total=12/ });
ok(wait_for(sub { my $j = json(); my ($n) = main::carriers($j) =~ / flows=(\d+)/; $j->{flows} == ($n // 0) }), 'flows are counted alike');
$gone->close;
wait_for(sub { counts() !~ / flows=/ });
is(counts(), 'tcp: down=10050 headers.ok=12 total=12 up=10050', 'and none is left');
is($api->request(DELETE => 'users/carol')->{status}, 204, 'nor she');

edit_conf(sub { s/main:1m/main:2m/ });
reload();
is(counts(), '', 'in memory of another size counting begins anew');
is(join(' ', map { $_->{generation} } @{ json()->{workers} }), '1 1', 'and so do configurations');
is(json()->{up}, 50, 'but not that of users');
--- stream_response: 1


=== TEST 4: names that are hostile, and more users than are shown
--- config eval: $::write =~ s/main/'m,a}<b>'/gr
--- servers
echo echo
--- no_defaults
--- stream_config
vmess_users 'm,a}<b>:1m' { alice %%ALICE%%; }
resolver 127.0.0.1;
vmess_allow 127.0.0.1;
--- stream_server_config
vmess 'm,a}<b>';
proxy_pass vmess_target;
--- stream_client
my @name = ('</script><b>', "a'b}{,=#", "\xf0\x9f\x98\x80", "\xe4\xba\xba", 'x' x 64, 'a%0a/b');
my $api = VMess::API->new(connect => sub { tcp(http_port()) }, base => '/api/');
my $i = 0;
my $made = $api->request(PATCH => 'users', { users => [ map {
    utf8::decode(my $n = $_);
    { name => $n, id => sprintf('3a1f0a5e-0c55-4a6c-9a52-0e9b4f5d7d%02d', $i++) }
} @name ] });
is($made->{status}, 200, 'users are made') or diag($made->{text});
$i = 0;
for (@name) {
    my $f = flow(uuid => sprintf('3a1f0a5e-0c55-4a6c-9a52-0e9b4f5d7d%02d', $i++), to => 'echo', data => 'y' x (10 * $i));
    is(length $f->read(10 * $i), 10 * $i, 'each has traffic');
}
wait_for(sub { json()->{up} == 210 });
is(join(' ', sort map { my $n = $_->{name}; utf8::encode($n); $n } @{ json()->{top} }), join(' ', sort 'alice', @name), 'names in JSON');

for my $format (qw(prometheus openmetrics)) {
    my ($s) = main::metrics(get($format)->{text});
    my $zone = 'zone="m,a}<b>"';
    is($s->{"nginx_vmess_user_bytes_total{$zone,user=\"$name[$_]\",direction=\"up\"}"}, 10 * ($_ + 1), $name[$_]) for 0 .. 5;
}
for my $names (qw(xray v2ray)) {
    my ($s, $t) = main::metrics(get("prometheus?names=$names")->{text});
    is($s->{"${names}_up"}, 1, 'it is up');
    is($t->{"${names}_traffic_uplink_bytes_total"}, 'counter', 'counters');
    ok(exists $s->{"${names}_uptime_seconds"}, 'since when');
    is($s->{"${names}_traffic_uplink_bytes_total{dimension=\"user\",target=\"$name[2]\"}"}, 30, 'bytes of a user');
    is($s->{"${names}_traffic_downlink_bytes_total{dimension=\"inbound\",target=\"tcp\"}"}, 210, 'and of an inbound');
    is(scalar(grep { !/^${names}_/ } keys %$s), 0, 'and nothing else');
    main::metrics(get("openmetrics?names=$names")->{text});
}
like(get("users/$_/history")->{json}{known}, qr/1/, "the history of $_")
    for '%F0%9F%98%80', 'x' x 64, 'a%250a%2Fb', '%3C%2Fscript%3E%3Cb%3E';

my ($s) = main::metrics(get('/few/prometheus')->{text});
is(join(' ', sort map { /user="([^"]+)",direction="up"/ } grep { /user_bytes/ } keys %$s), "a%0a/b " . 'x' x 64, 'those with most traffic');
is($s->{'nginx_vmess_users_omitted{zone="m,a}<b>"}'}, 5, 'and others are counted');
is(get('/few/json')->{json}{omitted}, 5, 'in JSON, too');
is(get('/none/json')->{json}{omitted}, 7, 'nobody is shown');
is(scalar(grep { /user_/ } keys %{ (main::metrics(get('/none/prometheus')->{text}))[0] }), 0, 'in metrics either');
--- stream_response: 1


=== TEST 5: a directive that is wrong
--- config eval: $::write
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $is = sub {
    my ($line, $text) = @_;
    my ($rc, $out) = nginx_t("vmess_users main:1m { alice $User{alice}; }\n"
                             . 'server { listen 127.0.0.1:1; vmess main; proxy_pass vmess_target; } resolver 127.0.0.1;',
                             main => "http { server { listen 127.0.0.1:2; location / { $line } } }");
    like($out, $text, $line);
};
$is->('vmess_status main users=0;', qr/syntax is ok/);
$is->('vmess_status other;', qr/unknown zone "other" in "vmess_status" in \S+, it must be that of "vmess_users other"/);
$is->('vmess_status main; vmess_status main;', qr/"vmess_status" directive is duplicate/);
$is->('vmess_status main users=x;', qr/users=.* in "vmess_status".*number of users up to 1000000/);
$is->('vmess_status main write;', qr/unknown parameter.*in "vmess_status"/);
$is->('vmess_status;', qr/invalid number of arguments in "vmess_status"/);
--- stream_response: 1


=== TEST 6: an answer that is taken slowly, or not at all
--- config eval: $::write . ' location /slow/ { vmess_status main users=5000; limit_rate 300k; output_buffers 1 4k; } location /big/ { vmess_api main write; client_max_body_size 10m; }'
--- stream_config
vmess_users main:16m { alice %%ALICE%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $big = VMess::API->new(connect => sub { tcp(http_port()) }, base => '/big/');
is($big->request(PUT => 'users', { users => [ map {
    { name => "user$_", quota => 1024, id => sprintf('3a1f0a5e-0c55-4a6c-9a52-0e9b%08d', $_) }
} 1 .. 3000 ] })->{json}{added}, 3000, 'users');

for my $format (qw(prometheus openmetrics)) {
    my ($s) = main::metrics(get("/slow/$format")->{text});
    is(scalar(grep { /^nginx_vmess_user_bytes_total/ } keys %$s), 6002, "all of them in $format");
    is(scalar(grep { /^nginx_vmess_user_quota_bytes/ } keys %$s), 3000, 'and their quotas');
}
my $j = get('/slow/json')->{json};
my %name = map { $_->{name} => 1 } @{ $j->{top} };
is(scalar(keys %name) . " $j->{omitted} $j->{users}", '3001 0 3001', 'and in JSON');
$j = json();
%name = map { $_->{name} => 1 } @{ $j->{top} };
is(scalar(keys %name) . " $j->{omitted} $j->{users}", '1000 2001 3001', 'or a thousand of them');

for (1 .. 4) {
    my $s = tcp(http_port());
    put($s, "GET /slow/prometheus HTTP/1.1\r\nHost: x\r\n\r\n");
    is(length read_n($s, 1000), 1000, 'the beginning is read');
    close $s;
}
is(get('json')->{status}, 200, 'others are answered');
--- stream_response: 1


=== TEST 7: flows of all carriers
--- servers
echo echo
udp udp_echo
--- config eval: $::write . ' location = /ray { vmess_pass ray; } location /x/ { vmess_pass ray xhttp; }'
--- http_config
server {
    listen 127.0.0.1:%%PORT_3%% http2;
    location = /svc/Tun { vmess_pass ray; }
    location = /h2 { vmess_pass ray http; }
}
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
server { listen 127.0.0.1:%%PORT_2%% ssl; ssl_certificate %%CERT%%; ssl_certificate_key %%KEY%%;
         vmess main; proxy_pass vmess_target; }
server { listen 127.0.0.1:%%PORT_4%% udp reuseport; vmess main; vmess_kcp; proxy_pass vmess_target; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
sub request {
    my ($path, %o) = @_;
    return VMess::HTTP2->new(tcp(stream_port() + 3))->request('PUT', $path, %o);
}

my @via = (tcp => tcp(), tls => tls(port => stream_port() + 2), mkcp => VMess::KCP::connect(stream_port() + 4),
           websocket => ws(path => '/ray'), httpupgrade => ws(path => '/ray', upgrade => 1),
           http => request('/h2'),
           grpc => VMess::HTTP2->new(tcp(stream_port() + 3))->request('POST', '/svc/Tun', codec => VMess::GRPC->new,
               headers => [ 'content-type' => 'application/grpc', te => 'trailers' ]),
           xhttp => VMess::XHTTP->new(connect => sub { VMess::XHTTP::H1->new(tcp(http_port())) },
                                      path => '/x/', mode => 'packet-up'));
my (@f, $want);
my $n = 0;
while (my ($name, $via) = splice @via, 0, 2) {
    my $bytes = 10 + $n++;
    push @f, flow(via => $via, to => 'echo', data => 'x' x $bytes);
    is(length $f[-1]->read($bytes), $bytes, $name);
    $want .= "$name: down=$bytes flows=1 headers.ok=1 total=1 up=$bytes\n";
}
wait_for(sub { json()->{down} == 8 * 10 + 28 });
is(counts() . "\n", $want, 'each is counted for its carrier');

my $u = flow(cmd => 'udp', to => 'udp', data => 'hello');
is($u->receive, 'hello', 'a flow of datagrams');
wait_for(sub { counts() =~ /^tcp: down=15 /m });
like(counts(), qr/^tcp: down=15 flows=2 headers.ok=2 total=2 up=15$/m, 'is counted');

$_->close for @f, $u;
wait_for(sub { json()->{flows} == 0 });
unlike(counts(), qr/ flows=/, 'none is open');
--- stream_response: 1
