# Sockets between workers: who else comes there, and who else is there.

use lib "t/lib";
use TestVMess;
use POSIX ();
use Socket qw(AF_UNIX SOCK_STREAM);
use VMess::XHTTP;

plan "no_plan";
no_shuffle();
workers(2);

# names of the sockets where a worker listens for others

sub worker_sockets {
    my ($pid) = @_;
    my %inode = map { $_ => 1 }
                map { (readlink($_) // '') =~ /^socket:\[(\d+)\]/ }
                glob "/proc/$pid/fd/*";
    return map { /^\S+ \S+ \S+ 00010000 0001 01 +(\d+) \@([0-9a-f]{5})$/
                 && $inode{$1} ? $2 : () }
           split /\n/, TestVMess::file_text('/proc/net/unix');
}

sub abstract {
    my ($name) = @_;
    socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die "socket: $!";
    return $s, pack('S', AF_UNIX) . "\0$name";
}

# what another process is told that connects there, as another user or as ours

sub stranger {
    my ($name, $uid, $says) = @_;
    my $pid = open(my $out, '-|') // die "fork: $!";

    if (!$pid) {
        POSIX::setuid($uid) if $uid;
        my ($s, $addr) = abstract($name);
        alarm 30 * $Scale;
        connect($s, $addr) or print "$!";
        $SIG{PIPE} = 'IGNORE';
        syswrite($s, $says);
        my $n = sysread($s, my $b, 100);
        print defined $n ? "$n bytes" : "$!";
        close STDOUT;
        POSIX::_exit(0);
    }

    local $/;
    my $told = <$out>;
    close $out;
    return $told;
}

run_tests();

__DATA__

=== TEST 1: processes of another user are turned away, and those of ours that know nothing
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location /x { vmess_pass ray; }
--- stream_client
my @names = map { worker_sockets($_) } children();
is(scalar @names, 2, 'a socket of each worker');

for my $n (1 .. @names) {
    like(stranger($names[$n - 1], 65534, 'x' x 1000), qr/^0 bytes$|reset/, 'closed');
    is(wait_log(qr/connection of another user to the socket of a worker/, $n),
       1, 'and told');
}

like(stranger($_, 0, 'x' x 1000), qr/^0 bytes$|reset/, 'nor ours') for @names;
is(log_count(qr/connection of another user/), 2, 'who is not told of as another');

my $x = VMess::XHTTP->new(connect => sub { VMess::XHTTP::H1->new(tcp(http_port())) },
                          fresh => 1);
my $f = flow(via => $x, to => 'echo', data => 'hello');
my $got = $f->read(5);
$f->close;
$got;
--- stream_response: hello
--- may_alert


=== TEST 2: a socket that another process has taken over is told nothing
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location /x { vmess_pass ray; }
--- stream_client
my $x = VMess::XHTTP->new(connect => sub { VMess::XHTTP::H1->new(tcp(http_port())) },
                          fresh => 1);
my $f = flow(via => $x, to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'a session');

my ($pid) = error_log() =~ /.*\[info\] (\d+)#\d+: \*\d+ client \S+ connected to vmess:/s;
my ($name) = worker_sockets($pid);
my ($s, $addr) = abstract($name);

# the master does not see that its worker has died
halt('STOP', TestVMess::master_pid());
halt('KILL', $pid);
is(wait_for(sub { bind($s, $addr) }), 1, 'the name is free');
listen($s, 5) or die "listen: $!";

my $packet = $x->post(7, 'more');
is(wait_log(qr/socket of worker $pid is not its own/), 1, 'it is seen');
accept(my $c, $s) or die "accept: $!";
is(sysread($c, my $b, 100), 0, 'and closed without a byte');

kill 'CONT', TestVMess::master_pid();
is(wait_for(sub { workers_alive() == 2 }), 1, 'the worker is back');
$packet->reset;
$f->close;
my $y = VMess::XHTTP->new(connect => sub { VMess::XHTTP::H1->new(tcp(http_port())) },
                          fresh => 1);
$f = flow(via => $y, to => 'echo', data => 'hello');
my $got = $f->read(5);
$f->close;
$got;
--- stream_response: hello
--- may_alert
