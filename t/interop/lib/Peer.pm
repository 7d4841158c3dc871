package Peer;

# Starts real VMess clients and servers on loopback and moves traffic through
# them; used by t/interop/*.t and t/bench/run.
#
# Environment
#
#   TEST_NGINX_BINARY         nginx, as for Test::Nginx
#   TEST_NGINX_LOAD_MODULES   modules to load, as for Test::Nginx
#   VMESS_INTEROP_SERVER      "nginx" (default), or "xray", "sing-box": another
#                             server in place of ours, to check the harness
#   VMESS_INTEROP_MIB         MiB of one transfer, default 8
#   VMESS_INTEROP_BUFFER      proxy_buffer_size of ours, default nginx's
#   VMESS_INTEROP_KEEP        do not remove the directory with all the logs

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use IPC::Open2;
use JSON::PP;
use POSIX qw(WNOHANG);
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(
    peers stop path slurp certificate target run_traffic hold_flows
    client server workers USER_ID
);

use constant USER_ID => 'b831381d-6324-4d53-ad4f-8cda48b30811';

my $here = dirname(abs_path(__FILE__));
my $top = abs_path("$here/../../..");

our @wrapper;                    # a command that runs the generator

my ($dir, %pids, %peers, @handles, $owner, $certificate);


# the directory of everything that is written

sub dir {
    if (!$dir) {
        $owner = $$;
        $dir = tempdir("vmess-interop-XXXXXX", TMPDIR => 1);

        # nginx's workers run as another user

        chmod 0755, $dir;
    }

    return $dir;
}


sub path {
    return dir() . '/' . shift;
}


sub slurp {
    my $name = shift;

    open my $fh, '<', $name or return '';
    local $/;
    return <$fh> // '';
}


sub spew {
    my ($name, $text) = @_;

    open my $fh, '>', $name or die "$name: $!";
    print $fh $text;
    close $fh or die "$name: $!";

    return $name;
}


# paths of those peers that are installed

sub peers {
    if (!%peers) {
        for (`$top/t/interop/peers --have`) {
            $peers{$1} = $2 if /^([\w-]+)=(.+)$/;
        }
    }

    return %peers;
}


sub free_port {
    my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')
        or die "no free port: $!";

    return $s->sockport();
}


# starts a command in the background with its output in the directory

sub start {
    my ($name, @cmd) = @_;

    my $log = path("$name.out");
    my $pid = fork() // die "fork: $!";

    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', $log;
        open STDERR, '>&', \*STDOUT;
        exec { $cmd[0] } @cmd or POSIX::_exit(127);
    }

    $pids{$pid} = $name;

    return $pid;
}


sub stop {
    my @left = grep { $pids{$_} } @_;

    kill TERM => @left if @left;

    for my $signal ('', 'KILL') {
        my $deadline = time() + 5;

        kill $signal => @left if $signal && @left;

        while (@left && time() < $deadline) {
            @left = grep { waitpid($_, WNOHANG) == 0 } @left;
            sleep 0.02 if @left;
        }
    }

    delete @pids{@_};
}


END {
    if (defined $owner && $owner == $$) {
        my $status = $?;

        stop(keys %pids);

        if ($ENV{VMESS_INTEROP_KEEP}) {
            print STDERR "# logs are in $dir\n";

        } else {
            system 'rm', '-rf', $dir;
        }

        $? = $status;
    }
}


# Until all ports are listened on; dies with the log if the process ends.  It
# does not connect: our server would log that.

sub wait_port {
    my ($pid, @ports) = @_;

    my $deadline = time() + 20;

    while (grep { !listening($_) } @ports) {
        if (waitpid($pid, WNOHANG) != 0 || time() > $deadline) {
            my $name = $pids{$pid};

            die "$name does not listen: "
                . substr(slurp(path("$name.out")), -2000)
                . substr(slurp(path('error.log')), -2000) . "\n";
        }

        sleep 0.02;
    }
}


sub listening {
    my $address = sprintf '0100007F:%04X', shift;

    return slurp('/proc/net/tcp') =~ /^\s*\d+: $address \S+ 0A /m;
}


# a certificate for "localhost" that is its own trusted root

sub certificate {
    if (!$certificate) {
        $certificate = path('localhost');

        system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256"
               . " -nodes -days 2"
               . " -subj /CN=localhost -addext subjectAltName=DNS:localhost"
               . " -keyout $certificate.key -out $certificate.crt"
               . " >$certificate.log 2>&1") == 0
            or die "openssl failed: " . slurp("$certificate.log");
    }

    return ("$certificate.crt", "$certificate.key");
}


# the target server (it ends with its standard input, that is with us);
# returns its address

sub target {
    my %peers = peers();

    my $pid = open2(my $out, my $in, $peers{traffic}, 'serve',
                    '-timeout', '5m');

    my $address = <$out> // die "no target server\n";
    chomp $address;

    $pids{$pid} = 'target';
    push @handles, $out, $in;

    return $address;
}


# runs the generator to its end; true if all flows went well, and its output

sub run_traffic {
    my ($limit, @args) = @_;

    my %peers = peers();
    my $log = path('traffic.out');

    my $pid = start('traffic', 'timeout', $limit + 10, @wrapper,
                    $peers{traffic}, @args, '-timeout', "${limit}s");

    waitpid $pid, 0;

    my $rc = $?;
    my $output = slurp($log);

    delete $pids{$pid};
    unlink $log;

    return ($rc == 0, $output);
}


# opens flows, waits until all are held, calls back, and closes them

sub hold_flows {
    my ($code, @args) = @_;

    my %peers = peers();
    my $pid = open2(my $out, my $in, $peers{traffic}, 'idle', @args);
    my $line = <$out> // '';
    my ($n) = $line =~ /^holding (\d+)/ or die "flows were not opened\n";

    $pids{$pid} = 'idle';

    my $result = $code->($n);

    print $in "\n";
    close $in;
    stop($pid);

    return $result;
}


# Clients.  A leg is one outbound of the client with a SOCKS inbound of its own:
#
#   { carrier => 'tcp' or 'tls', security => ..., port => of the server,
#     socks => port of the inbound, set by client() }
#   { carrier => 'websocket' or 'httpupgrade', listen => 'http' or 'https',
#     path => ..., early => bytes of early data, early_in => name of a header }
#
# and for Xray "experiments", for sing-box any further options of the outbound.

sub client {
    my ($name, @legs) = @_;

    my %peers = peers();

    $_->{socks} = free_port() for @legs;

    my $config = $name eq 'sing-box' ? singbox_client(@legs)
                                     : xray_client(@legs);
    my $file = spew(path("$name-client.json"), encode_json($config));

    my $pid = start("$name-client", command($name, $file));

    wait_port($pid, map { $_->{socks} } @legs);

    return $pid;
}


sub command {
    my ($name, $file) = @_;

    my %peers = peers();
    my $binary = $peers{$name} // die "no $name\n";

    return $name eq 'v2ray' ? ($binary, '-config', $file)
                            : ($binary, 'run', '-c', $file);
}


sub over_tls {
    my $leg = shift;

    return $leg->{carrier} eq 'tls' || ($leg->{listen} // '') eq 'https';
}


# both Xray and v2ray

sub xray_client {
    my (@inbounds, @outbounds, @rules);
    my ($crt) = certificate();
    my $i = 0;

    for my $leg (@_) {
        my %user = (id => USER_ID, alterId => 0,
                    security => $leg->{security});

        $user{experiments} = $leg->{experiments} if $leg->{experiments};

        my %stream = (network => 'tcp');

        if ($leg->{path}) {
            my $name = $leg->{carrier} eq 'websocket' ? 'ws' : 'httpupgrade';

            %stream = (network => $name, "${name}Settings" => {
                path => $leg->{path}
                        . ($leg->{early} ? "?ed=$leg->{early}" : ''),
            });
        }

        if (over_tls($leg)) {
            %stream = (%stream, security => 'tls', tlsSettings => {
                serverName => 'localhost',
                disableSystemRoot => JSON::PP::true,
                certificates => [
                    { usage => 'verify', certificateFile => $crt }
                ],
            });
        }

        push @inbounds, {
            tag => "in$i", protocol => 'socks', listen => '127.0.0.1',
            port => $leg->{socks}, settings => { udp => JSON::PP::false },
        };

        push @outbounds, {
            tag => "out$i", protocol => 'vmess', streamSettings => \%stream,
            settings => { vnext => [
                { address => '127.0.0.1', port => $leg->{port},
                  users => [ \%user ] }
            ] },
        };

        push @rules, {
            type => 'field', inboundTag => [ "in$i" ], outboundTag => "out$i",
        };

        $i++;
    }

    return {
        log => { loglevel => 'warning' },
        inbounds => \@inbounds, outbounds => \@outbounds,
        routing => { domainStrategy => 'AsIs', rules => \@rules },
    };
}


sub singbox_client {
    my (@inbounds, @outbounds, @rules);
    my ($crt) = certificate();
    my $i = 0;

    for my $leg (@_) {
        my %outbound = (
            type => 'vmess', tag => "out$i", server => '127.0.0.1',
            server_port => $leg->{port}, uuid => USER_ID,
            security => $leg->{security},
        );

        for my $option (qw(global_padding authenticated_length)) {
            $outbound{$option} = JSON::PP::true if $leg->{$option};
        }

        if ($leg->{path}) {
            my $ws = $leg->{carrier} eq 'websocket';

            $outbound{transport} = {
                type => $ws ? 'ws' : 'httpupgrade', path => $leg->{path},
                $leg->{early} ? (max_early_data => $leg->{early}) : (),
                $leg->{early_in}
                ? (early_data_header_name => $leg->{early_in}) : (),
            };
        }

        if (over_tls($leg)) {
            $outbound{tls} = {
                enabled => JSON::PP::true, server_name => 'localhost',
                certificate_path => $crt,
            };
        }

        push @inbounds, {
            type => 'socks', tag => "in$i", listen => '127.0.0.1',
            listen_port => $leg->{socks},
        };

        push @outbounds, \%outbound;

        push @rules, {
            inbound => [ "in$i" ], action => 'route', outbound => "out$i",
        };

        $i++;
    }

    return {
        log => { level => 'warn' },
        inbounds => \@inbounds, outbounds => \@outbounds,
        route => { rules => \@rules },
    };
}


# Servers.  Each listens on two ports, for raw TCP and for TLS, ours on two more
# for HTTP; options of ours:
#
#   workers      worker_processes, default 2
#   buffer       proxy_buffer_size, default nginx's
#   quiet        no access log, no informational messages
#   relay        an address: nginx alone passes connections to it, no VMess

sub server {
    my ($name, %options) = @_;

    my %server = (
        name => $name, tcp => free_port(), tls => free_port(),
        http => free_port(), https => free_port(),
    );

    my $config;

    if ($name =~ /^(nginx|relay)$/) {
        $config = spew(path("$name.conf"), nginx_server(\%server, %options));
        $server{pid} = start($name, nginx_binary(), '-p', dir() . '/',
                             '-c', $config);

    } else {
        $config = $name eq 'sing-box' ? singbox_server(\%server)
                                      : xray_server(\%server);
        $config = spew(path("$name-server.json"), encode_json($config));
        $server{pid} = start("$name-server", command($name, $config));
    }

    wait_port($server{pid}, @server{qw(tcp tls)},
              $name eq 'nginx' ? @server{qw(http https)} : ());

    return \%server;
}


# lets our server end gracefully, so that all is logged

sub quit {
    my $server = shift;

    my $deadline = time() + 30;

    kill QUIT => $server->{pid};

    while (waitpid($server->{pid}, WNOHANG) == 0) {
        if (time() > $deadline) {
            stop($server->{pid});
            die "nginx does not quit\n";
        }

        sleep 0.02;
    }

    delete $pids{$server->{pid}};
}


# the processes that do the work of a server

sub workers {
    my $server = shift;

    if ($server->{name} !~ /^(nginx|relay)$/) {
        return $server->{pid};
    }

    my $pid = $server->{pid};
    my $deadline = time() + 10;

    while (time() < $deadline) {
        my @children = split ' ', slurp("/proc/$pid/task/$pid/children");
        return @children if @children;
        sleep 0.02;
    }

    die "nginx has no workers\n";
}


sub nginx_binary {
    return $ENV{TEST_NGINX_BINARY} || '/usr/sbin/nginx';
}


# In their load order.  Without the variable of Test::Nginx the module may be
# linked statically; otherwise it is built.

sub nginx_modules {
    if (defined $ENV{TEST_NGINX_LOAD_MODULES}) {
        return split ' ', $ENV{TEST_NGINX_LOAD_MODULES};
    }

    my $binary = nginx_binary();

    if (`$binary -V 2>&1` =~ /--add-module=\S*vmess/
        || !-x "$top/examples/build" || !-e "$top/config")
    {
        return;
    }

    my ($so) = `$top/examples/build` =~ /^(\S+\.so)$/m
        or die "examples/build failed\n";

    my $stream = '/usr/lib/nginx/modules/ngx_stream_module.so';

    return (-e $stream ? $stream : (), abs_path($so));
}


sub nginx_server {
    my ($server, %options) = @_;

    my ($crt, $key) = certificate();
    my $modules = join '', map { "load_module $_;\n" }
                           grep { !$options{relay} || /stream_module/ }
                           nginx_modules();
    my $workers = $options{workers} || 2;
    my $id = USER_ID;

    my $buffer = $options{buffer} || $ENV{VMESS_INTEROP_BUFFER};

    $buffer = $buffer ? "proxy_buffer_size $buffer;" : '';

    my $vmess = "vmess interop;\n        proxy_pass vmess_target;";
    my $users = "vmess_users interop:4m {\n        tester $id;\n    }\n\n"
                . "    vmess_allow 127.0.0.0/8;";

    my $listen = "server {\n        vmess_listen ray;\n        $vmess\n    }";

    my $http = <<"END";
http {
    access_log off;

    server {
        listen 127.0.0.1:$server->{http} backlog=4096;
        listen 127.0.0.1:$server->{https} ssl backlog=4096;
        ssl_certificate $crt;
        ssl_certificate_key $key;

        location = /ray {
            vmess_pass ray early_data=X-Early;
        }

        location /path/ {
            vmess_pass ray;
        }
    }
}
END

    if ($options{relay}) {
        $vmess = "proxy_pass $options{relay};";
        $users = $listen = $http = '';
    }

    my $level = $options{quiet} ? 'warn' : 'info';
    my $log = $options{quiet} ? '' : <<'END';
log_format flows '$vmess_status $vmess_user $vmess_carrier '
                     '$vmess_security $vmess_command $vmess_host '
                     '$status $bytes_received $bytes_sent';

    access_log access.log flows;
END

    return <<"END";
$modules
daemon off;
worker_processes $workers;
worker_rlimit_nofile 16384;
pid nginx-$server->{tcp}.pid;
error_log error.log $level;

events {
    worker_connections 8192;
}

stream {
    $users

    $log
    $buffer

    server {
        listen 127.0.0.1:$server->{tcp} backlog=4096;
        $vmess
    }

    server {
        listen 127.0.0.1:$server->{tls} ssl backlog=4096;
        ssl_certificate $crt;
        ssl_certificate_key $key;
        $vmess
    }

    $listen
}

$http
END
}


sub xray_server {
    my $server = shift;

    my ($crt, $key) = certificate();
    my @inbounds;

    for my $carrier (qw(tcp tls)) {
        my %stream = (network => 'tcp');

        if ($carrier eq 'tls') {
            %stream = (%stream, security => 'tls', tlsSettings => {
                certificates => [
                    { certificateFile => $crt, keyFile => $key }
                ],
            });
        }

        push @inbounds, {
            protocol => 'vmess', listen => '127.0.0.1',
            port => $server->{$carrier}, streamSettings => \%stream,
            settings => { clients => [ { id => USER_ID, alterId => 0 } ] },
        };
    }

    return {
        log => { loglevel => 'warning' },
        inbounds => \@inbounds,
        outbounds => [ { protocol => 'freedom' } ],
    };
}


sub singbox_server {
    my $server = shift;

    my ($crt, $key) = certificate();
    my @inbounds;

    for my $carrier (qw(tcp tls)) {
        my %inbound = (
            type => 'vmess', tag => $carrier, listen => '127.0.0.1',
            listen_port => $server->{$carrier},
            users => [ { name => 'tester', uuid => USER_ID, alterId => 0 } ],
        );

        if ($carrier eq 'tls') {
            $inbound{tls} = {
                enabled => JSON::PP::true, server_name => 'localhost',
                certificate_path => $crt, key_path => $key,
            };
        }

        push @inbounds, \%inbound;
    }

    return {
        log => { level => 'warn' },
        inbounds => \@inbounds,
        outbounds => [ { type => 'direct', tag => 'direct' } ],
    };
}


1;
