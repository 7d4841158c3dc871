# The server's clock is put forward and back: nothing is good twice, and it is said
# why.

use lib "t/lib";
use VMess::Clock;
use TestVMess;

plan "no_plan";
no_shuffle();

sub clock { set_clock(wall => @_) }

clock(0);
run_tests();


sub send_again {
    my ($v) = @_;
    my $s = tcp();
    put($s, $v->header . 'x' x 5000);
    return slurp($s);
}

__DATA__

=== TEST 1: forward by an hour, and back
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $before = vmess(to => 'echo');
is($before->connect(tcp(), data => 'hello')->read(5), 'hello', 'before');
$before->close;

clock(3600);
is(send_again(vmess(to => 'echo')), '', 'ids of an hour ago are late');
is(wait_log(qr/bad time, clock skew is -3\d\d\d s/), 1, 'as it is said');

my $ahead = vmess(to => 'echo', skew => 3600);
is($ahead->connect(tcp(), data => 'hello')->read(5), 'hello', 'others are good');
$ahead->close;

clock(0);
is(send_again($before), '', 'the first is not good again');
is(wait_log(qr/client sent replayed VMess header/), 1, 'as it is known');
is(flow(to => 'echo', data => 'hello')->read(5), 'hello', 'fresh ones are');
is(send_again($ahead), '', 'the other one is early');

clock(3600);
is(send_again($ahead), '', 'and when its time comes it is known');
is(wait_log(qr/client sent replayed VMess header/, 2), 1, 'it is');
clock(0);
log_count(qr/\[alert\]/);
--- stream_response: 0


=== TEST 2: a time of which ids were forgotten
--- servers
echo echo
--- stream_config
vmess_users main:1m {
    alice %%ALICE%%;
    bob %%BOB%%;
    carol %%MALLORY%%;
}
log_format status $vmess_status;
server {
    vmess_listen site;
    return nothing;
    access_log %%DIR%%/status.log status;
}
--- stream_server_config
vmess main;
vmess_fallback site;
proxy_pass vmess_target;
--- stream_client
my $before = vmess(to => 'echo', skew => -20);
is($before->connect(tcp(), data => 'hello')->read(5), 'hello', 'before');
$before->close;

# so many in the hour ahead that the filter needs the room
my $key = VMess::kdf16(VMess::cmd_key(VMess::uuid($TestVMess::User{bob})),
                       'AES Auth ID Encryption');
my $aes = Crypt::Cipher::AES->new($key);
my $n = 0;
for my $ahead (900, 3600) {
    clock($ahead);
    my $full = log_count(qr/is full/);
    my $end = $n + 30000;
    while ($n < $end && log_count(qr/is full/) == $full) {
        for (1 .. 500) {
            my $id = pack 'q> N', time + $ahead, $n++;
            $id = $aes->encrypt($id . pack 'N', unpack 'N',
                                Crypt::Checksum::CRC32::crc32_data($id));
            my $s = tcp();
            put($s, $id . 'x' x 26);
            close $s;
        }
    }
    cmp_ok($n, '<', $end, "it is full at $ahead seconds");
}

clock(0);
unlink "$Dir/status.log";
signal_nginx('USR1');
wait_for(sub { -e "$Dir/status.log" });
is(send_again($before), 'nothing', 'what was before is refused');
is(wait_log(qr/client sent VMess header of user "alice" of a time before the clock was put back/),
   1, 'in doubt');
is(wait_log(qr/\[alert\].*vmess_users "main": the clock was put back, ids of a time that has been before are refused/),
   1, 'with an alert');
wait_for(sub { access_log('status.log') =~ /\n/ });
is(access_log('status.log'), "clock\n", 'and a status');

# the filter remembers times by 16 seconds

is(flow(user => 'mallory', to => 'echo', skew => 60, data => 'hello')->read(5),
   'hello', 'a time that has not been is good');
1;
--- stream_response: 1
--- may_alert
