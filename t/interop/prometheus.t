#!/usr/bin/perl

# Metrics of vmess_status: promtool finds nothing wrong with them, and a real
# Prometheus scrapes them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../lib";

use File::Temp qw(tempdir);
use IO::Socket::INET;
use JSON::PP;
use Peer ();
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);
use VMess;

my %peer = map { /^(\S+)=(.*)/ ? ($1, $2) : () } `$FindBin::Bin/peers prometheus`;

if (!$peer{promtool}) {
    BAIL_OUT('no prometheus') if $ENV{CI};
    plan skip_all => 'no prometheus';
}

my $nginx = $ENV{TEST_NGINX_BINARY} || 'nginx';
my ($port, $http, $echo, $prometheus) = Peer::free_ports(4);
my $limit = 60 * ($ENV{TEST_VMESS_SCALE} || 1);
my $alice = 'b831381d-6324-4d53-ad4f-8cda48b30811';
my $dir = tempdir('vmess-prometheus-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
mkdir "$dir/logs";

my $owner = $$;
my @pids;

END {
    if ($$ == $owner) {
        my $rc = $?;
        kill 'TERM', @pids;
        waitpid $_, 0 for @pids;
        $? = $rc;
    }
}

put("$dir/nginx.conf", join('', map { "load_module $_;\n" } split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '')
    . <<"END");
daemon off;
pid $dir/pid;
error_log $dir/error.log info;
events { }

stream {
    resolver 127.0.0.1;
    vmess_allow 127.0.0.1;

    vmess_users main:1m {
        alice $alice quota=1g expires=2040-01-31 max_ips=3;
        "b</script>,{}='" ad9f3f5b-3e55-4d6e-8d9a-5f2b5b1a3b44;
        "\xf0\x9f\x98\x80" 3a1f0a5e-0c55-4a6c-9a52-0e9b4f5d7c11 disabled;
    }

    server { listen 127.0.0.1:$port; vmess main; proxy_pass vmess_target; }
    server { listen 127.0.0.1:$echo; return hello; }
}

http {
    access_log off;
    server { listen 127.0.0.1:$http; location /metrics { vmess_status main; } }
}
END

start($nginx, '-p', $dir, '-c', "$dir/nginx.conf", '-e', "$dir/error.log");
wait_for('nginx', sub { IO::Socket::INET->new("127.0.0.1:$port") });

my $s = IO::Socket::INET->new("127.0.0.1:$port");
is(VMess->new(uuid => $alice, port => $echo)->connect($s, data => 'x')->read(5), 'hello', 'a flow');

$s = IO::Socket::INET->new("127.0.0.1:$port");
print $s "GET / HTTP/1.1\r\n\r\n" . 'x' x 5000;
close $s;

# promtool reads the text format

for my $names (qw(nginx xray v2ray)) {
    my $text = `curl -s 'http://127.0.0.1:$http/metrics/prometheus?names=$names'`;
    like($text, qr{^# TYPE ${names}_}m, "metrics with the names of $names");
    put("$dir/metrics", $text);
    my $said = `$peer{promtool} check metrics < $dir/metrics 2>&1`;
    is("$? $said", '0 ', 'are what promtool wants');
}

# Prometheus asks for OpenMetrics

put("$dir/prometheus.yml", <<"END");
global: { scrape_interval: 1s, scrape_timeout: 1s }
scrape_configs:
  - { job_name: nginx, static_configs: [ { targets: [ "127.0.0.1:$http" ] } ] }
  - { job_name: xray, params: { names: [ xray ] }, static_configs: [ { targets: [ "127.0.0.1:$http" ] } ] }
END

start($peer{prometheus}, "--config.file=$dir/prometheus.yml", "--storage.tsdb.path=$dir/tsdb",
      "--web.listen-address=127.0.0.1:$prometheus", '--log.level=warn');

my @targets;
wait_for('a scrape', sub {
    @targets = @{ (api('targets') // {})->{activeTargets} // [] };
    return @targets == 2 && !grep { $_->{health} eq 'unknown' } @targets;
});
is($_->{health} . $_->{lastError}, 'up', "$_->{scrapePool} is scraped") for @targets;

my %want = ('nginx_vmess_users{status="active"}' => 2, 'nginx_vmess_headers_total{carrier="tcp",status="ok"}' => 1,
            'nginx_vmess_bytes_total{carrier="tcp",direction="down"}' => 5,
            'nginx_vmess_unknown_clients_total{looks_like="HTTP"}' => 1,
            'nginx_vmess_user_bytes_total{user="alice",direction="down"}' => 5,
            "nginx_vmess_user_flows{user=\"b</script>,{}='\"}" => 0,
            "nginx_vmess_user_flows{user=\"\xf0\x9f\x98\x80\"}" => 0,
            'nginx_vmess_user_expires_timestamp_seconds' => 2211580800,
            'sum(nginx_vmess_clock_skew_seconds_count)' => 1,
            'xray_up' => 1, 'xray_traffic_downlink_bytes_total{dimension="user",target="alice"}' => 5,
            'count({__name__=~"nginx_vmess_.*",job="xray"}) or vector(0)' => 0);

for my $query (sort keys %want) {
    my $value;
    wait_for($query, sub { $value = value($query); defined $value && $value == $want{$query} });
    is($value, $want{$query}, $query);
}

done_testing();


sub put {
    my ($file, $text) = @_;
    open my $fh, '>', $file or die "$file: $!";
    print $fh $text;
    close $fh;
}


sub start {
    my @command = @_;
    my $pid = fork // die $!;
    if (!$pid) {
        open STDOUT, '>', "$dir/out.$$" or die $!;
        open STDERR, '>&', \*STDOUT or die $!;
        exec @command or POSIX::_exit(1);
    }
    push @pids, $pid;
}


sub wait_for {
    my ($what, $is) = @_;
    my $end = time + $limit;
    while (!$is->()) {
        return diag("no $what in time") if time > $end;
        sleep 0.05;
    }
}


sub api {
    my ($path) = @_;
    my $text = `curl -s 'http://127.0.0.1:$prometheus/api/v1/$path'`;
    return (eval { decode_json($text) } // {})->{data};
}


sub value {
    my ($query) = @_;
    $query =~ s/([^\w.-])/sprintf '%%%02X', ord $1/ge;
    my $result = (api("query?query=$query") // {})->{result} // [];
    return @$result == 1 ? $result->[0]{value}[1] : undef;
}
