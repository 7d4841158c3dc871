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
#   VMESS_INTEROP_ONLY        a pattern: only legs with such a title
#   VMESS_INTEROP_ALL         v2ray_legacy.t: all combinations, in 6 minutes
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
    peers stop path slurp certificate target
    run_traffic start_traffic traffic_ended wait_traffic hold_flows
    client server workers connections nginx_has USER_ID
);

use constant USER_ID => 'b831381d-6324-4d53-ad4f-8cda48b30811';

my $here = dirname(abs_path(__FILE__));
my $top = abs_path("$here/../../..");

our @wrapper;                    # a command that runs the generator

my ($dir, %pids, %status, %peers, %ports, @handles, $owner, $certificate, $traffic);


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


# Free for TCP and for UDP, and not one of those that the system gives to
# outgoing connections: it could give it away before a server listens there.

sub free_port {
    for (1 .. 100) {
        my $port = 10000 + int rand 12000;

        next if $ports{$port}++;

        my @free = grep { IO::Socket::INET->new(LocalAddr => '127.0.0.1',
                              LocalPort => $port, Proto => $_,
                              $_ eq 'tcp' ? (Listen => 1) : ()) }
                        qw(tcp udp);

        return $port if @free == 2;
    }

    die "no free port: $!\n";
}


# so many, one after the other

sub free_ports {
    my ($n) = @_;

    for (1 .. 100) {
        my $first = free_port();
        my @rest = map { $first + $_ } 1 .. $n - 1;
        my @free = grep { !$ports{$_}
                          && IO::Socket::INET->new(LocalAddr => '127.0.0.1',
                                                   LocalPort => $_, Listen => 1)
                        } @rest;

        next if @free != @rest;

        $ports{$_}++ for @rest;

        return ($first, @rest);
    }

    die "no $n free ports\n";
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
    my ($port) = @_;

    return $port =~ s/^udp:// ? sockets('udp', $port, '07')
                              : sockets('tcp', $port, '0A');
}


# The addresses of the clients that are connected to a port.  While the table
# changes a reader may miss a line: it is read until there is nothing new.

sub connections {
    my ($port) = @_;
    my (%seen, $n);

    do {
        $n = keys %seen;
        $seen{$_} = 1 for sockets('tcp', $port, '01');
    } while (keys %seen > $n);

    return keys %seen;
}


# The other sides of the sockets at a port of 127.0.0.1 in a state.  The table
# may be long, and one pattern for all of it is slow.

sub sockets {
    my ($protocol, $port, $state) = @_;

    my $start = sprintf '0100007F:%04X', $port;

    return map { / $start (\S+) $state / ? $1 : () }
               split /\n/, slurp("/proc/net/$protocol");
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
# returns its address, in list context that of DNS, too

sub target {
    my %peers = peers();

    my $pid = open2(my $out, my $in, $peers{traffic}, 'serve',
                    '-timeout', '5m');

    my ($address, $dns) = split ' ', <$out> // die "no target server\n";

    $pids{$pid} = 'target';
    push @handles, $out, $in;

    return wantarray ? ($address, $dns) : $address;
}


# runs the generator to its end; true if all flows went well, and its output

sub run_traffic {
    return wait_traffic(start_traffic(@_));
}


# the same in two steps, so that several can run at once

sub start_traffic {
    my ($limit, @args) = @_;

    my %peers = peers();

    return start('traffic' . ++$traffic, 'timeout', $limit + 10, @wrapper,
                 $peers{traffic}, @args, '-timeout', "${limit}s");
}


# the first of some to end

sub traffic_ended {
    while (1) {
        for my $pid (@_) {
            next unless waitpid $pid, WNOHANG;

            $status{$pid} = $?;
            return $pid;
        }

        sleep 0.02;
    }
}


sub wait_traffic {
    my $pid = shift;

    my $log = path("$pids{$pid}.out");

    traffic_ended($pid) unless defined $status{$pid};

    my $rc = delete $status{$pid};
    my $output = slurp($log);

    delete $pids{$pid};
    unlink $log;

    return ($rc == 0, $output);
}


# opens flows, waits until all are held, calls back, and lets them end, in which
# they are used once more; dies if not all go well

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

    # it has a limit of its own

    waitpid $pid, 0;
    delete $pids{$pid};

    die "flows that were held failed: ", <$out>, "\n" if $? != 0;

    return $result;
}


# Clients.  A leg is one outbound of the client with a SOCKS inbound of its own:
#
#   { carrier => 'tcp', 'tls' or 'quic', security => ..., port => of the server,
#     socks => port of the inbound, set by client() }
#   { carrier => 'websocket' or 'httpupgrade', listen => 'http' or 'https',
#     path => ..., early => bytes of early data, early_in => name of a header }
#   { carrier => 'http', listen => 'http' or 'https', path => ... }
#   { carrier => 'grpc', listen => 'h2c' or 'https', path => name of the service,
#     multi => 1 for TunMulti }
#   { carrier => 'xhttp', listen => 'http', 'https' or 'h3', path => ...,
#     mode => ..., alpn => 'http/1.1' or 'h2' with https,
#     one => 1 for all flows on one connection }
#   { carrier => 'mkcp', header => a disguise, seed => ..., seal => 'none' for bare
#     segments, domain => with the header "dns"; loss => percent of datagrams that
#     get lost on the way, as many come late; masks => [] for current Xray }
#
# with TCP and TLS there are disguise => 1, as HTTP, and with TCP detour => 1,
# dynamic ports;
#
# each with alter => number of alter ids, mux => sub-connections at once for Xray
# and v2ray, and for Xray "experiments", for sing-box any further options of the
# outbound.  Those for datagrams have udp => 'udp', 'mux', 'xudp' or 'packetaddr': how they are sent.
# Xray has one way for all of a process.  With dns => address of a server one
# leg has an inbound for the client's own resolver, too (dns_port).

sub client {
    my ($name, @legs) = @_;

    my %peers = peers();

    for my $leg (@legs) {
        $leg->{socks} = free_port();
        $leg->{dns_port} = free_port() if $leg->{dns};
    }

    my @cfb = grep { $_->{security} eq 'aes-128-cfb' } @legs;

    my $config = $name =~ /^sing-box/ ? singbox_client(@legs)
                                      : xray_client(@legs);
    my $file = spew(path("$name-client.json"), encode_json($config));

    $file = v2ray_cfb($file, scalar @cfb) if $name eq 'v2ray' && @cfb;

    # Xray reads the length of a buffer that it gave away, and sends it twice
    # (XHTTP, packet-up) if another thread was fast.

    local $ENV{GOMAXPROCS} = 1 if $name eq 'xray';

    local $ENV{XRAY_CONE_DISABLED} = 'true' if ($legs[0]{udp} // '') eq 'udp';

    my $pid = start("$name-client", command($name, $file));

    wait_port($pid, map { $_->{socks},
                          $_->{dns} ? "udp:$_->{dns_port}" : () } @legs);

    return $pid;
}


sub command {
    my ($name, $file) = @_;

    my %peers = peers();
    my $binary = $peers{$name} // die "no $name\n";

    return $name eq 'v2ray' ? ($binary, $file =~ /pb$/ ? qw(-format pb) : (),
                               '-config', $file)
                            : ($binary, 'run', '-c', $file);
}


# v2ray takes "aes-128-cfb" in a file of JSON for "auto", although it has the
# cipher: in the other form of the file it is a number.  A security_settings is
# the field 3, of 2 bytes, with a type in the field 1.

sub v2ray_cfb {
    my ($file, $n) = @_;

    my %peers = peers();
    my $v2ctl = $peers{v2ray} =~ s/v2ray$/v2ctl/r;
    my $config = `$v2ctl config $file 2>/dev/null`;
    my $done = $config =~ s/\x1a\x02\x08\x02/\x1a\x02\x08\x01/g;

    die "v2ctl config: $done of $n users\n" if $done != $n;

    return spew($file =~ s/json$/pb/r, $config);
}


sub over_tls {
    my $leg = shift;

    return $leg->{carrier} =~ /^(tls|quic)$/ || ($leg->{listen} // '') =~ /^(https|h3)$/;
}


# transport settings of Xray and v2ray, the same for clients and servers

sub xray_stream {
    my ($leg, %tls) = @_;

    my $path = $leg->{path} // '';
    my $ed = $leg->{early} ? "?ed=$leg->{early}" : '';

    my ($name, %settings) = @{{
        tcp => [ 'tcp' ],
        mkcp => [ 'kcp', uplinkCapacity => 20, downlinkCapacity => 20,
                  $leg->{masks} ? () : (
                      header => { type => $leg->{header} // 'none' },
                      $leg->{seed} ? (seed => $leg->{seed}) : (),
                  ) ],
        tls => [ 'tcp' ],
        websocket => [ 'ws', path => "$path$ed" ],
        httpupgrade => [ 'httpupgrade', path => "$path$ed" ],
        http => [ 'http', path => $path ],
        quic => [ 'quic', security => 'none', header => { type => 'none' } ],
        grpc => [ 'grpc', serviceName => $path,
                  multiMode => $leg->{multi} ? JSON::PP::true
                                             : JSON::PP::false ],
        xhttp => [ 'xhttp', path => $path, mode => $leg->{mode},
                   $leg->{one} ? (xmux => { maxConnections => 1 }) : () ],
    }->{$leg->{carrier}}};

    my $alpn = ($leg->{listen} // '') eq 'h3' ? 'h3' : $leg->{alpn};

    %settings = (header => { type => 'http', request => {
        path => [ '/a' ], headers => { Host => [ 'h.example' ] },
    } }) if $leg->{disguise};

    return {
        network => $name,
        %settings ? ("${name}Settings" => \%settings) : (),
        $leg->{masks} ? (finalmask => { udp => $leg->{masks} }) : (),
        over_tls($leg)
        ? (security => 'tls',
           tlsSettings => { %tls, $alpn ? (alpn => [ $alpn ]) : () })
        : (),
    };
}


# both Xray and v2ray

sub xray_client {
    my (@inbounds, @outbounds, @rules, %dns);
    my ($crt) = certificate();
    my $i = 0;

    for my $leg (@_) {
        my %user = (id => USER_ID, alterId => $leg->{alter} // 0,
                    security => $leg->{security});

        $user{experiments} = $leg->{experiments} if $leg->{experiments};

        # As a browser, which it is by default, it offers h2 as well, whatever
        # it speaks then.

        my $h1 = ($leg->{alpn} // '') eq 'http/1.1';

        my $stream = xray_stream($leg,
            $h1 ? (fingerprint => 'unsafe') : (),
            serverName => 'localhost',
            disableSystemRoot => JSON::PP::true,
            certificates => [ { usage => 'verify', certificateFile => $crt } ],
        );

        push @inbounds, {
            tag => "in$i", protocol => 'socks', listen => '127.0.0.1',
            port => $leg->{socks}, settings => {
                $leg->{udp} ? (udp => JSON::PP::true, ip => '127.0.0.1')
                            : (udp => JSON::PP::false),
            },
        };

        push @outbounds, {
            tag => "out$i", protocol => 'vmess', streamSettings => $stream,
            $leg->{mux} ? (mux => {
                enabled => JSON::PP::true, concurrency => $leg->{mux},
                $leg->{xudp} ? (xudpConcurrency => $leg->{xudp}) : (),
            }) : (),
            settings => { vnext => [
                { address => '127.0.0.1', port => $leg->{port} + 0,
                  users => [ \%user ] }
            ] },
        };

        push @rules, {
            type => 'field', inboundTag => [ "in$i" ], outboundTag => "out$i",
        };

        if ($leg->{dns}) {
            my ($address, $port) = split /:/, $leg->{dns};

            push @inbounds, {
                tag => 'dns-in', protocol => 'dokodemo-door',
                listen => '127.0.0.1', port => $leg->{dns_port},
                settings => { address => $address, port => $port + 0,
                              network => 'udp' },
            };

            push @outbounds, { tag => 'dns-out', protocol => 'dns' };

            push @rules, map {
                { type => 'field', inboundTag => [ $_->[0] ],
                  outboundTag => $_->[1] }
            } [ 'dns-in', 'dns-out' ], [ 'resolver', "out$i" ];

            %dns = (dns => {
                tag => 'resolver',
                servers => [ { address => $address, port => $port + 0 } ],
            });
        }

        $i++;
    }

    return {
        log => { loglevel => 'warning' },
        inbounds => \@inbounds, outbounds => \@outbounds,
        routing => { domainStrategy => 'AsIs', rules => \@rules }, %dns,
    };
}


# the same for clients and servers of sing-box

sub singbox_transport {
    my $leg = shift;

    my %transport = %{{
        websocket => {
            type => 'ws', path => $leg->{path},
            $leg->{early} ? (max_early_data => $leg->{early}) : (),
            $leg->{early_in}
            ? (early_data_header_name => $leg->{early_in}) : (),
        },
        httpupgrade => { type => 'httpupgrade', path => $leg->{path} },
        http => { type => 'http', path => $leg->{path} },
        quic => { type => 'quic' },
        grpc => { type => 'grpc', service_name => $leg->{path} },
    }->{$leg->{carrier}} // {}};

    return %transport ? \%transport : undef;
}


sub singbox_client {
    my (@inbounds, @outbounds, @rules, %dns);
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

        $outbound{packet_encoding} = $leg->{udp}
            if ($leg->{udp} // 'udp') ne 'udp';

        $outbound{alter_id} = $leg->{alter} if $leg->{alter};

        my $transport = singbox_transport($leg);

        $outbound{transport} = $transport if $transport;

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

        # Without data that it has sniffed it writes the header alone, within
        # 300 ms, and goes on if that failed, although TLS has lost a record.

        push @rules, {
            inbound => [ "in$i" ], network => 'tcp', action => 'sniff',
            sniffer => [ 'tls' ], timeout => '30s',
        } if over_tls($leg);

        push @rules, {
            inbound => [ "in$i" ], action => 'route', outbound => "out$i",
        };

        if ($leg->{dns}) {
            my ($address, $port) = split /:/, $leg->{dns};

            push @inbounds, {
                type => 'direct', tag => 'dns-in', listen => '127.0.0.1',
                listen_port => $leg->{dns_port}, network => 'udp',
            };

            push @rules, { inbound => [ 'dns-in' ], action => 'hijack-dns' };

            %dns = (dns => { servers => [ {
                type => 'udp', tag => 'dns', server => $address,
                server_port => $port + 0, detour => "out$i",
            } ] });
        }

        $i++;
    }

    return {
        log => { level => 'warn' },
        inbounds => \@inbounds, outbounds => \@outbounds,
        route => { rules => \@rules }, %dns,
    };
}


# parameters of "vmess_kcp" for a leg

sub kcp_parameters {
    my $leg = shift;

    return join ' ', map { defined $leg->{$_} ? "$_=$leg->{$_}" : () }
                         qw(header domain seed seal);
}


# a network that loses datagrams before a port; returns its own

sub bad_network {
    my ($port, $loss) = @_;

    my %peers = peers();

    my $pid = open2(my $out, my $in, $peers{traffic}, 'relay', '-target',
                    "127.0.0.1:$port", '-loss', $loss, '-late', $loss,
                    '-seed', 1);

    my ($address) = <$out> =~ /:(\d+)$/ or die "no relay\n";

    $pids{$pid} = 'relay';
    push @handles, $out, $in;

    return $address;
}


# Servers.  Each listens on two ports, for raw TCP and for TLS, ours on more for
# HTTP, and for each kind of mKCP.  Other servers have one transport a port, so they are told all legs and
# set the ports of those that they know.  "nginx+xray" is WebSocket at the port
# for https only: nginx terminates TLS and passes it to Xray.  Options:
#
#   workers      worker_processes, default 2
#   buffer       proxy_buffer_size, default nginx's
#   quiet        no access log, no informational messages
#   user         parameters of the user
#   relay        an address: nginx alone passes connections to it, no VMess
#   main, http   directives at the top level, and of http
#   quic         more ports of QUIC: "vmess_quic" and what follows it, by name

sub server {
    my ($name, %options) = @_;

    my %server = (
        name => $name, map { $_ => free_port() }
        qw(tcp tls quic http https h2c h3 disguise tls_disguise detour)
    );

    my @legs = @{$options{legs} // []};

    $server{range} = [ free_ports(4) ] if grep { $_->{detour} } @legs;
    my ($config, @ports);

    $server{"quic_$_"} = free_port() for keys %{$options{quic} // {}};

    for my $leg (grep { $_->{carrier} eq 'mkcp' } @legs) {
        $server{mkcp}{kcp_parameters($leg)} ||= free_port();
    }

    if ($name eq 'nginx+xray') {
        my $leg = { carrier => 'websocket', listen => 'http', path => '/ray' };

        $server{xray} = server('xray', legs => [ $leg ])->{pid};
        $options{proxy} = $leg->{port};
        $name = 'proxy';
    }

    if ($name =~ /^(nginx|relay|proxy)$/) {
        $config = spew(path("$name.conf"), nginx_server(\%server, %options));
        $server{pid} = start($name, nginx_binary(), '-p', dir() . '/',
                             '-c', $config);

        @ports = $name eq 'relay' ? @server{qw(tcp tls)}
               : $name eq 'proxy' ? $server{https}
               : (@server{qw(tcp tls http https h2c)},
                  (map { "udp:$_" } values %{$server{mkcp} // {}},
                   (map { $server{"quic_$_"} } keys %{$options{quic} // {}}),
                   nginx_has('http_v3') ? @server{qw(quic h3)} : ()));

        for my $leg (@legs) {
            my $on = $leg->{listen} // $leg->{carrier};

            $on = 'detour' if $leg->{detour};
            $on = $on eq 'tls' ? 'tls_disguise' : 'disguise'
                if $leg->{disguise};

            $leg->{port} = $leg->{carrier} eq 'mkcp'
                ? $server{mkcp}{kcp_parameters($leg)} : $server{$on};
            $leg->{range} = $server{range};
        }

    } else {
        for my $leg (@legs) {
            $leg->{port} = !known($name, $leg) ? undef
                : $leg->{carrier} eq 'mkcp'
                ? $server{mkcp}{kcp_parameters($leg)}
                : $server{$leg->{carrier}} // free_port();
        }

        # one inbound for all legs of a kind

        my %seen;

        @legs = grep { $_->{port} && !$seen{$_->{port}}++
                       && ($_->{carrier} eq 'mkcp'
                           || !$server{$_->{carrier}}) } @legs;

        $config = $name =~ /^(xray|v2ray)$/ ? xray_server(\%server, @legs)
                                  : singbox_server(\%server, @legs);
        $config = spew(path("$name-server.json"), encode_json($config));
        $server{pid} = start("$name-server", command($name, $config));

        @ports = (@server{qw(tcp tls)},
                  $name eq 'v2ray' ? "udp:$server{quic}" : (),
                  map { ($_->{carrier} eq 'mkcp' || $_->{listen} eq 'h3'
                         ? 'udp:' : '') . $_->{port} }
                  @legs);
    }

    wait_port($server{pid}, @ports);

    for my $leg (grep { $_->{port} && $_->{loss} } @{$options{legs} // []}) {
        $leg->{port} = bad_network($leg->{port}, $leg->{loss});
    }

    return \%server;
}


# Does another server know what a leg does?  That of sing-box loses frames when
# several sub-connections have datagrams.

sub known {
    my ($name, $leg) = @_;

    my $carrier = $leg->{carrier};

    return if $leg->{alter} || $leg->{disguise} || $leg->{detour};

    if ($name eq 'xray') {
        return $carrier ne 'http' && ($leg->{udp} // '') ne 'packetaddr'
               && (!$leg->{early} || $carrier eq 'httpupgrade'
                   || ($leg->{early_in} // '') eq 'Sec-WebSocket-Protocol');
    }

    return $carrier ne 'xhttp' && !$leg->{multi}
           && ($carrier ne 'quic' || $name eq 'v2ray')
           && ($leg->{udp} // '') ne 'mux'
           && !($carrier eq 'httpupgrade' && $leg->{early});
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

    if ($server->{name} !~ /^(nginx|relay|nginx\+xray)$/) {
        return $server->{pid};
    }

    my $pid = $server->{pid};
    my $deadline = time() + 10;

    while (time() < $deadline) {
        my @children = split ' ', slurp("/proc/$pid/task/$pid/children");
        return (@children, $server->{xray} // ()) if @children;
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


# 1022001 is 1.22.1

sub nginx_version {
    my $binary = nginx_binary();

    my @v = `$binary -v 2>&1` =~ /(\d+)\.(\d+)\.(\d+)/
        or die "$binary does not say its version\n";

    return $v[0] * 1000000 + $v[1] * 1000 + $v[2];
}


# was nginx built with a module of its own?

sub nginx_has {
    my $binary = nginx_binary();

    return `$binary -V 2>&1` =~ /--with-$_[0]_module/;
}


sub nginx_server {
    my ($server, %options) = @_;

    my $workers = $options{workers} || 2;
    my $level = $options{quiet} ? 'warn' : 'info';

    # the relay needs no module of ours, the proxy none at all

    my $modules = join '', map { "load_module $_;\n" }
                           grep { !$options{proxy}
                                  && (!$options{relay} || /stream_module/) }
                           nginx_modules();

    my $parts = $options{relay} ? nginx_stream($server, %options)
              : $options{proxy} ? nginx_proxy($server, %options)
              : nginx_stream($server, %options)
                . nginx_http($server, %options);

    return <<"END";
$modules
@{[ $options{main} // '' ]}
daemon off;
worker_processes $workers;
worker_rlimit_nofile 16384;
pid nginx-$server->{tcp}.pid;
error_log error.log $level;

events {
    worker_connections 8192;
}

$parts
END
}


sub nginx_stream {
    my ($server, %options) = @_;

    my ($crt, $key) = certificate();
    my $id = USER_ID;
    my $buffer = $options{buffer} || $ENV{VMESS_INTEROP_BUFFER};

    $buffer = $buffer ? "proxy_buffer_size $buffer;" : '';

    my @legs = @{$options{legs} // []};
    my ($alter) = sort { $b <=> $a } map { $_->{alter} // 0 } @legs, {};
    my $parameter = $options{user} // '';

    $parameter .= " alter_id=$alter" if $alter;

    my $vmess = "vmess interop;\n        proxy_pass vmess_target;";
    my $users = "vmess_users interop:16m {\n        tester $id$parameter;\n"
                . "    }\n\n    vmess_allow 127.0.0.0/8;";
    my $listen = "server {\n        vmess_listen ray;\n        $vmess\n    }";

    $users .= "\n    vmess_ciphers aes-128-gcm chacha20-poly1305 none zero"
              . ' aes-128-cfb;'
        if grep { $_->{alter} || $_->{detour} } @legs;

    if (grep { $_->{disguise} } @legs) {
        my $on = "vmess_http_header on path=/a host=h.example;\n        $vmess";

        $listen .= "\n\n    server {\n"
            . "        listen 127.0.0.1:$server->{disguise} backlog=4096;\n"
            . "        $on\n    }\n\n    server {\n"
            . "        listen 127.0.0.1:$server->{tls_disguise} ssl"
            . " backlog=4096;\n        ssl_certificate $crt;\n"
            . "        ssl_certificate_key $key;\n        $on\n    }";
    }

    if ($server->{range}) {
        my $range = join '-', @{$server->{range}}[0, -1];

        $listen .= "\n\n    server {\n"
            . "        listen 127.0.0.1:$server->{detour} backlog=4096;\n"
            . "        listen 127.0.0.1:$range backlog=4096;\n"
            . "        vmess_detour ports=$range refresh=1m;\n"
            . "        $vmess\n    }";
    }

    my $log = $options{quiet} ? '' : <<'END';
log_format flows '$vmess_status $vmess_user $vmess_carrier '
                     '$vmess_security $vmess_command $vmess_host '
                     '$status $bytes_received $bytes_sent '
                     '$vmess_network $vmess_mux_id $server_port';

    access_log access.log flows;
END

    my %quic = !nginx_has('http_v3') ? ()
             : (quic => ';', map { +"quic_$_" => $options{quic}{$_} }
                             keys %{$options{quic} // {}});

    my $quic = join "\n", map { <<"END" } sort keys %quic;
server {
        listen 127.0.0.1:$server->{$_} udp reuseport;
        ssl_certificate $crt;
        ssl_certificate_key $key;
        vmess_quic $quic{$_}
        $vmess
    }
END

    if ($options{relay}) {
        $quic = '';
        $vmess = "proxy_pass $options{relay};";
        $users = $listen = '';
    }

    my $kcp = '';

    for my $kind (sort keys %{$server->{mkcp} // {}}) {
        $kcp .= <<"END";
    server {
        listen 127.0.0.1:$server->{mkcp}{$kind} udp reuseport rcvbuf=4m;
        vmess_kcp $kind;
        $vmess
    }

END
    }

    return <<"END";
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

    $quic
    $listen

$kcp
}
END
}


sub nginx_http {
    my ($server, %options) = @_;

    my ($crt, $key) = certificate();

    my $log = $options{quiet} ? 'access_log off;' : <<'END';
log_format requests '$server_port $server_protocol $status '
                        '$request_method $uri';

    access_log requests.log requests;
END

    # "http2" became a directive of its own in 1.25.1; without it a cleartext
    # port has one version only

    my ($flag, $http2) = ('', "http2 on;\n        ");

    if (nginx_version() < 1025001) {
        ($flag, $http2) = (' http2', '');
    }

    my $quic = nginx_has('http_v3')
        ? "listen 127.0.0.1:$server->{h3} quic reuseport;\n        " : '';

    return <<"END";
http {
    $log
    @{[ $options{http} // '' ]}

    server {
        listen 127.0.0.1:$server->{http} backlog=4096;
        listen 127.0.0.1:$server->{https} ssl$flag backlog=4096;
        listen 127.0.0.1:$server->{h2c}$flag backlog=4096;
        ${quic}${http2}http2_max_concurrent_streams 256;
        ssl_certificate $crt;
        ssl_certificate_key $key;

        location = /ray {
            vmess_pass ray early_data=X-Early;
        }

        location /path/ {
            vmess_pass ray;
        }

        location /h2 {
            vmess_pass ray http;
        }

        location /svc {
            vmess_pass ray grpc;
        }

        location /xh/ {
            vmess_pass ray xhttp;
        }

        location /any/ {
            vmess_pass ray;
        }

        location = /status {
            stub_status;
            access_log off;
        }
    }
}
END
}


# what people have before Xray

sub nginx_proxy {
    my ($server, %options) = @_;

    my ($crt, $key) = certificate();
    my $buffer = $options{buffer};

    $buffer = $buffer ? "proxy_buffer_size $buffer;\n"
                        . "            proxy_buffers 4 $buffer;\n"
                        . "            proxy_busy_buffers_size $buffer;" : '';

    return <<"END";
http {
    access_log off;

    server {
        listen 127.0.0.1:$server->{https} ssl backlog=4096;
        ssl_certificate $crt;
        ssl_certificate_key $key;

        location = /ray {
            proxy_pass http://127.0.0.1:$options{proxy};
            proxy_http_version 1.1;
            proxy_set_header Host \$host;
            proxy_set_header Upgrade \$http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for;
            proxy_buffering off;
            proxy_read_timeout 1h;
            $buffer
        }
    }
}
END
}


sub xray_server {
    my ($server, @legs) = @_;

    my ($crt, $key) = certificate();
    my @inbounds;

    for my $leg ({ carrier => 'tcp', listen => 'tcp', port => $server->{tcp} },
                 { carrier => 'tls', listen => 'tls', port => $server->{tls} },
                 $server->{name} ne 'v2ray' ? ()
                 : { carrier => 'quic', port => $server->{quic} },
                 @legs)
    {
        my $stream = xray_stream({ %$leg, early => 0 },
            certificates => [ { certificateFile => $crt, keyFile => $key } ],
        );

        push @inbounds, {
            protocol => 'vmess', listen => '127.0.0.1',
            port => $leg->{port} + 0, streamSettings => $stream,
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
    my ($server, @legs) = @_;

    my ($crt, $key) = certificate();
    my @inbounds;

    for my $leg ({ carrier => 'tcp', port => $server->{tcp} },
                 { carrier => 'tls', port => $server->{tls} }, @legs)
    {
        my %inbound = (
            type => 'vmess', tag => "in$leg->{port}", listen => '127.0.0.1',
            listen_port => $leg->{port},
            users => [ { name => 'tester', uuid => USER_ID, alterId => 0 } ],
        );

        if (over_tls($leg)) {
            $inbound{tls} = {
                enabled => JSON::PP::true, server_name => 'localhost',
                certificate_path => $crt, key_path => $key,
            };
        }

        my $transport = singbox_transport($leg);

        $inbound{transport} = $transport if $transport;

        push @inbounds, \%inbound;
    }

    return {
        log => { level => 'warn' },
        inbounds => \@inbounds,
        outbounds => [ { type => 'direct', tag => 'direct' } ],
    };
}


1;
