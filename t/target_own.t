# The machine's own public addresses are no targets of clients.  Runs in a
# network namespace, which has some.

BEGIN {
    my $ns = 'ip link set lo up && ip addr add 203.0.113.7/32 dev lo'
             . ' && ip addr add 2001:db8:7::7/64 dev lo nodad';

    unless ($ENV{TEST_VMESS_NETNS}) {
        if ($> != 0 || system("unshare -n sh -c '$ns' >/dev/null 2>&1") != 0) {
            print "1..0 # SKIP no network namespace with addresses of its own\n";
            exit 0;
        }

        $ENV{TEST_VMESS_NETNS} = 1;
        exec('unshare', '-n', 'sh', '-c', "$ns && exec \"\$@\"", 'sh', $^X, $0, @ARGV)
            or die "exec: $!";
    }
}

use lib "t/lib";
use TestVMess;

plan "no_plan";
no_shuffle();

run_tests();

__DATA__

=== TEST 1: addresses of the machine are private, in any form
--- no_defaults
--- servers
v4  tag@0.0.0.0 reached
v6  tag@:: reached
udp udp_echo@203.0.113.7
dns dns own.test=203.0.113.7 own6.test=2001:db8:7::7 both.test=203.0.113.7,2001:db8:7::7
--- stream_config
resolver 127.0.0.1:%%dns%%;
vmess_users main:1m { alice %%ALICE%%; }
log_format l '$vmess_host $vmess_status $upstream_addr';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my @hosts = ('203.0.113.7', '2001:db8:7::7', '[::ffff:203.0.113.7]', '[::203.0.113.7]',
             '[64:ff9b::203.0.113.7]', '[2002:cb00:7107::]', '[::ffff:0:203.0.113.7]',
             '[2001:db8:7::]', 'own.test', 'own6.test', 'both.test');
my $n = 0;
for my $host (@hosts) {
    for my $port (port('v4'), port('v6')) {
        is(flow(host => $host, port => $port, data => '!')->read_eof, '', "$host is not reached");
        $n++;
    }
}
my $u = flow(cmd => 'udp', host => '203.0.113.7', port => port('udp'), data => 'x');
is($u->read_eof, '', 'nor by a datagram');
$n++;
wait_for(sub { $n == (() = access_log() =~ /\n/g) });
is(join(', ', grep { !/ denied -$/ } split /\n/, access_log()), '',
   'all were denied, and none was tried');
my $alive = tcp(port('v4'), '203.0.113.7');
put($alive, 'x');
read_n($alive, 9);
--- stream_response: reached:x


=== TEST 2: a rule allows them
--- no_defaults
--- servers
own tag@203.0.113.7 own
six tag@2001:db8:7::7 six
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
vmess_deny 203.0.113.7 1-1000;
vmess_allow private;
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
join ' ', map { flow(@$_, data => '!')->read(5) || 'refused' }
    [ host => '203.0.113.7', to => 'own' ], [ host => '2001:db8:7::7', to => 'six' ],
    [ host => '203.0.113.7', port => 22 ];
--- stream_response: own:! six:! refused


=== TEST 3: one added later is, to who connects to it, and to all after a reload
--- no_defaults
--- servers
v4 tag@0.0.0.0 reached
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
server {
    listen %%PORT_1%%;
    listen [::]:%%PORT_1%%;
    vmess main;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
is(system('ip addr add 203.0.113.8/32 dev lo'), 0, 'another address');
my %to = (host => '203.0.113.8', to => 'v4', data => '!');
my $port = stream_port() + 1;
is(flow(via => tcp($port, '127.0.0.1'), %to)->read(9), 'reached:!',
   'not known to a client at another address');
is(flow(via => tcp($port, '203.0.113.8'), %to)->read_eof, '',
   'the one connected to is private');
reload();
is(flow(via => tcp($port, '127.0.0.1'), %to)->read_eof, '', 'all are after a reload');
1;
--- stream_response: 1


=== TEST 4: without a global address of IPv6, IPv4 comes first
--- no_defaults
--- servers
four tag one
dns dns both.test=2001:db8:9::9,127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%%;
vmess_users main:1m { alice %%ALICE%%; }
vmess_allow 127.0.0.1;
log_format l '$vmess_addr';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $tries = 0;
until (access_log() =~ /:/ || $tries++ > 60) {
    is(flow(host => 'both.test', to => 'four', data => '!')->read(5), 'one:!', 'a flow');
}
like(access_log(), qr/^2001:db8:9::9$/m, 'the other one is the first of some');
is(system('ip addr del 2001:db8:7::7/64 dev lo'), 0, 'no address of IPv6');
reload();
my $n = () = access_log() =~ /\n/g;
is(flow(host => 'both.test', to => 'four', data => '!')->read(5), 'one:!', 'a flow')
    for 1 .. 12;
wait_for(sub { $n + 12 == (() = access_log() =~ /\n/g) });
my @l = split /\n/, access_log();
join ' ', grep { $_ ne '127.0.0.1' } @l[$n .. $#l];
--- stream_response:
