# The API: a list of users is applied as a whole or not at all, whoever else
# changes users meanwhile.

use lib "t/lib";
use TestVMess;
use VMess::API;
use File::Path qw(remove_tree);
use IO::Select;
use JSON::PP ();
use Test::Nginx::Util qw($ServRoot $ConfFile);

plan "no_plan";
no_shuffle();
workers(2);

our $write = 'location /api/ { vmess_api main write; client_max_body_size 10m; }';

our $api;

sub api {
    $api //= VMess::API->new(connect => sub { tcp(http_port()) });
    return $api->checked(@_);
}

# status, code and text of an error

sub refusal {
    my $a = api(@_);
    my $e = ($a->{json} // {})->{error} // {};
    return join ' ', $a->{status}, $e->{code} // '', $e->{text} // '';
}

sub id { return sprintf '%08x-0000-4000-8000-%012d', $_[0], $_[0] }

sub users { return map { { name => "u$_", id => id($_) } } @_ }

# all that is shown of all users, and the ETag

sub all {
    my $a = api(GET => 'users');
    return "$a->{header}{etag} $a->{text}";
}

sub count { return api(GET => '')->{json}{users} }
sub changes { return api(GET => '')->{json}{changes} }

# begins a call: the socket

sub begin {
    my ($method, $path, $data) = @_;
    my $body = JSON::PP->new->encode($data);
    my $s = tcp(http_port());
    put($s, "$method /api/$path HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
            . 'Content-Length: ' . length($body) . "\r\n\r\n$body");
    return $s;
}

# the pid of the worker that a socket leads to

sub worker {
    my ($s) = @_;
    my $ends = sprintf ' 0100007F:%04X 0100007F:%04X ', $s->peerport, $s->sockport;
    my ($inode) = map { (split)[9] } grep { index($_, $ends) > 0 }
                  split /\n/, TestVMess::file_text('/proc/net/tcp');
    return (grep { my $p = $_; grep { (readlink($_) // '') eq "socket:[$inode]" } glob("/proc/$p/fd/*") }
            children())[0];
}

# whether the table is not locked

sub is_free {
    my $s = tcp(http_port());
    put($s, "GET /api/users/alice HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    return IO::Select->new($s)->can_read(0.03 * $Scale);
}

# Begins a list, and stops its worker when some of its users are there, but not
# while the table is locked: the socket and the pid.  Other users may be there
# before.

sub stop_amid {
    my ($list, $before) = @_;

    for (1 .. 200) {
        api(PUT => 'users', { users => $before // [] });
        my $changes = changes();
        my $s = begin(PUT => 'users', { users => $list });
        my $pid = worker($s) or next;

        until (IO::Select->new($s)->can_read(0)) {
            halt('STOP', $pid);
            my $n = is_free() ? 1 + changes() - $changes : 0;
            return ($s, $pid) if $n > 1 && $n < @$list - 500;
            kill 'CONT', $pid;

            # shortly, if the table is locked

            select undef, undef, undef, $n ? 0.001 : 0.0001;
        }

        slurp($s);
    }

    die "a list could not be stopped\n";
}

# nginx is started again

sub start_nginx {
    my $bin = $ENV{TEST_NGINX_BINARY} || 'nginx';
    my $out = `$bin -p $ServRoot/ -c $ConfFile 2>&1`;
    diag($out) if $?;
    return $? == 0 && wait_for(sub { TestVMess::master_pid() && workers_alive() >= 2 });
}

run_tests();

__DATA__

=== TEST 1: a list that does not fit changes nothing
--- config eval: $::write
--- servers
echo echo
--- stream_config
vmess_users main:1m { alice %%ALICE%% quota=1g; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @users = map { { %$_, also => id($_->{id} =~ /^0*(\w+)/ ? 5000 + hex $1 : 0), quota => '5g', max_conns => 3, rate => '1m',
                    class => 'gold', tags => [1, 2], expires => '2040-01-31' } } users(1 .. 300);
is(api(PUT => 'users', { users => \@users })->{json}{added}, 300, 'users with limits');
my $f = flow(uuid => id(7), to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'a flow');
wait_for(sub { api(GET => 'users/u7')->{json}{used} == 10 });
my $before = all();

# some are changed, some go, some change their ids, many are new
my @other = map { { %$_, quota => '6g', also => undef } } @users[20 .. 299];
@other[0, 1] = ({ %{ $other[0] }, id => $other[1]{id} }, { %{ $other[1] }, id => $other[0]{id} });
my $many = [@other, users(301 .. 5000)];
like(refusal(PUT => 'users', { users => $many }),
     qr/^507 ZoneFull users\[\d+\]: no room for user "u\d+" in vmess_users "main", give it a larger size/, 'the whole list');
is(all(), $before, 'nothing has changed');
like(refusal(PATCH => 'users', { users => [{ name => 'u1', remove => JSON::PP::true }, @$many] }),
     qr/^507 ZoneFull users\[\d+\]: no room/, 'some users');
is(all(), $before, 'nothing has changed');
is($f->send('x')->read(1), 'x', 'the flow goes on');

# the room is given back
my $n = 300;
while (api(PATCH => 'users', { users => [users($n + 1 .. $n + 50)] })->{status} == 200) { $n += 50 }
cmp_ok($n, '>=', 400, 'others find room');
is(count(), $n + 1, 'as many as were added');
while (api(PUT => 'users/u' . ($n + 1), { id => id($n + 1) })->{status} == 201) { $n++ }
$before = all();
like(refusal(PUT => 'users/more', { id => id(9999) }), qr/^507 ZoneFull no room for user "more"/, 'until there is none');

# ids of users that are there need no more of it, nor do other values
my @ids = map { my $i = $_; { name => "u$_", id => id($i == 50 ? 1 : $i + 1) } } 1 .. 50;
is(join(' ', @{ api(PATCH => 'users', { users => \@ids })->{json} }{qw(changed added)}), '50 0', 'ids change hands');
is(api(PATCH => 'users', { users => [map { { name => "u$_", id => id(8000 + $_) } } 51 .. 150] })->{json}{changed}, 100,
   'and new ones come');
is(api(GET => 'users/u50')->{json}{id}, id(1), 'this one');
is(api(PATCH => 'users', { users => [map { { name => "u$_", also => undef } } 1 .. 20] })->{json}{changed}, 20, 'some go');
is(api(PATCH => 'users', { users => [map { { name => "u$_", also => id(9000 + $_) } } 21 .. 40] })->{json}{changed}, 20, 'for others');
my $slots = api(PATCH => 'users', { users => [(map { { name => "u$_", also => undef } } 41 .. 60),
                                              (map { { name => "u$_", also => id(9100 + $_) } } 1 .. 20)] });
like($slots->{status}, qr/^(200|507)$/, 'at once, if there is some room');
--- stream_response: 1


=== TEST 2: others wait for a list
--- config eval: $::write
--- stream_config
vmess_users main:64m { alice %%ALICE%%; }
--- stream_client
my @list = users(1 .. 6000);
for my $round (1 .. 6) {
    api(PUT => 'users', { users => [] });
    my $s = begin(PUT => 'users', { users => \@list });

    # the second half of the rounds: when it is applied
    if ($round > 3) {
        1 while count() == 1 && !IO::Select->new($s)->can_read(0);
    }

    my $thief = api(PUT => 'users/thief', { id => id(6000) });
    my $text = slurp($s);
    my ($status) = $text =~ /^HTTP\/1.1 (\d+)/;
    my $etag = $text =~ /^ETag: (\S+)/m ? $1 : '';

    if ($thief->{status} == 201) {
        is("$status " . count(), $text =~ /IdTaken/ ? '409 2' : '200 6001', 'it comes before or after all of the list');
    } else {
        is("$thief->{status} $status " . count(), '409 200 6001', 'it comes after the list');
        is(api(GET => 'users?limit=1')->{header}{etag}, $etag, 'whose ETag is that of the list');
    }
}

# lists of two, deletions, and changes
my @s = map { begin(PUT => 'users', { users => [map { { %$_, max_conns => 10 } } @list] }) } 1;
push @s, begin(PUT => 'users', { users => [map { { %$_, max_conns => 20 } } @list] });
push @s, begin(PATCH => 'users', { users => [map { { name => $_->{name}, class => 'x' } } @list[0 .. 999]] });
my @changes = map { api(PATCH => "users/u$_", { quota => 5 })->{status} } 1, 3000, 5999;
my $kick = api(POST => 'users/alice/kick')->{status};
like(slurp($_), qr/^HTTP\/1.1 200 /, 'a list is applied') for @s;
is("@changes $kick", '200 200 200 200', 'and changes are made');
my %n;
$n{ $_->{max_conns} }++ for @{ api(GET => 'users?origin=api&fields=max_conns')->{json}{users} };
is(join(' ', map { $n{$_} } keys %n), 6000, 'of two lists the last one');
is(api(DELETE => 'users/u1')->{status}, 204, 'one goes');
--- stream_response: 1


=== TEST 3: a worker is stopped, and killed, amid a list
--- config eval: $::write
--- stream_config
vmess_users main:64m { alice %%ALICE%%; }
--- may_alert
--- stream_client
my @list = users(1 .. 12000);
my ($s, $pid) = stop_amid(\@list);
like(refusal(PUT => 'users/other', { id => id(20000) }), qr/^503 Busy a list of users is being applied, try again$/, 'others wait');
my $other = begin(PUT => 'users/other', { id => id(20000) });
is(wait_taken(http_port()), 1, 'another one');
halt('KILL', $pid);
like(slurp($other), qr/^HTTP\/1.1 201 /, 'until it is killed');
cmp_ok(count(), '>', 2, 'a part of the list is there');
is(api(PUT => 'users', { users => \@list })->{status}, 200, 'the list once more');
is(count(), 12001, 'and all of it');
--- stream_response: 1


=== TEST 4: a reload amid a list counts as the later one
--- config eval: $::write
--- stream_config
vmess_users main:64m { alice %%ALICE%%; }
--- quits
--- stream_client
my @list = users(1 .. 12000);
my ($s, $pid) = stop_amid(\@list);
edit_conf(sub { my ($a, $b) = (id(12000), id(20000)); s/(alice \S+;)/$1 taker $a; u11999 $b;/ });
my %old = map { $_ => 1 } children();
signal_nginx('HUP');
is(wait_for(sub { 2 == grep { !$old{$_} } children() }), 1, 'new workers');
is(wait_for(sub { api(GET => 'users?origin=conf&fields=name')->{text} =~ /taker/ }), 1, 'new users');
kill 'CONT', $pid;
my $text = slurp($s);
like($text, qr/^HTTP\/1.1 200 /, 'the list is applied');
my ($etag) = $text =~ /^ETag: (\S+)/m;
isnt(api(GET => 'users?limit=1')->{header}{etag}, $etag, 'its ETag is not that of what is there');
is(count(), 2 + 11999, 'but for the user whose id is in the file');
is(api(GET => 'users/u12000')->{status}, 404, 'this one');
my $u = api(GET => 'users/u11999')->{json};
is("$u->{origin} $u->{id}", 'conf ' . id(20000), 'and one is of the file');
is(api(GET => 'users/taker')->{json}{id}, id(12000), 'as another is');
is(api(GET => 'users/u11998')->{json}{id}, id(11998), 'the last of the list');
--- stream_response: 1


=== TEST 5: a reload amid a list, with another size of the zone
--- config eval: $::write
--- stream_config
vmess_users main:64m { alice %%ALICE%%; }
--- quits
--- stream_client
my @list = users(1 .. 12000);
for my $resumed (1, 0) {
    my ($s, $pid) = stop_amid(\@list);
    my %old = map { $_ => 1 } children();
    edit_conf(sub { s/main:6(.)m/'main:6' . ($1 + 1) . 'm'/e });
    signal_nginx('HUP');

    # a bit later, or when the reload does not wait any more
    if ($resumed) {
        kill 'CONT', $pid;
    } else {
        is(wait_for(sub { 2 == grep { !$old{$_} } children() }), 1, 'new workers');
        kill 'CONT', $pid;
    }

    my $text = slurp($s);
    is(wait_for(sub { !grep { $old{$_} } children() }), 1, 'old workers have gone');
    like($text, $resumed ? qr/^HTTP\/1.1 200 / : qr/^HTTP\/1.1 503 .*"Reloaded"/s, 'the list is applied, or refused');
    is(count(), 12001, 'all of it is there') if $resumed;
    cmp_ok(count(), '<', 12001, 'a part is there, which was told') if !$resumed;
}
1;
--- stream_response: 1


=== TEST 6: users come in the place of others while a page is read
--- config
location /api/ { vmess_api main write; client_max_body_size 10m; }
location /slow/ { vmess_api main; limit_rate 50k; output_buffers 1 4k; }
--- stream_config
vmess_users main:16m { alice %%ALICE%%; }
--- stream_client
my @names = map { sprintf 'u%04d', $_ } 1 .. 999;
is(api(PUT => 'users', { users => [map { { name => $names[$_], id => id($_ + 1) } } 0 .. 998] })->{json}{added}, 999, 'users');
my $s = tcp(http_port());
put($s, "GET /slow/users?sort=name&limit=1000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
my $text = read_n($s, 100);
is(api(PATCH => 'users', { users => [map { { name => $_, remove => JSON::PP::true } } @names[899 .. 998]] })->{json}{removed}, 100,
   'the last ones go');

# they come at the end of the list as long as those numbers are not free
my @new = ('a0000');
wait_for(sub {
    api(PUT => "users/$new[-1]", { id => id(5000 + @new) });
    my @all = map { $_->{name} } @{ api(GET => 'users?fields=name')->{json}{users} };
    push @new, sprintf 'a%04d', scalar @new;
    return $all[-1] ne $new[-2];
});
api(PUT => "users/$_", { id => id(6000 + substr $_, 1) }) for map { sprintf 'b%04d', $_ } 1 .. 90;

$text .= slurp($s);
my @got = $text =~ /"name":"(\w+)"/g;
is(join(' ', splice @got, 0, 890), join(' ', 'alice', @names[0 .. 888]), 'users in their order');
is("@got", "@names[889 .. 898]", 'those that are there all the time, and no others');
--- stream_response: 1


=== TEST 7: who goes amid a list finishes it
--- config eval: $::write
--- stream_config eval
File::Path::remove_tree("$main::Dir/five");
'vmess_users main:64m state=%%DIR%%/five { alice %%ALICE%%; }'
--- main_config
worker_shutdown_timeout 1ms;
--- quits
--- may_alert
--- stream_client
my @list = users(1 .. 12000);
my ($s, $pid) = stop_amid(\@list);
my %old = map { $_ => 1 } children();
signal_nginx('HUP');
is(wait_for(sub { 2 == grep { !$old{$_} } children() }), 1, 'new workers');
kill 'CONT', $pid;
slurp($s);
is(wait_for(sub { !grep { $_ == $pid } children() }), 1, 'its worker has gone');
is(count(), 12001, 'all of the list is there');

# a fast stop, and what is in the files then
($s, $pid) = stop_amid(\@list);
my @all = (TestVMess::master_pid(), children());
kill 'TERM', $all[0];
kill 'CONT', $pid;
is(wait_for(sub { !grep { TestVMess::file_text("/proc/$_/stat") =~ /\) [^ZX]/ } @all }), 1, 'nginx has gone');
ok(start_nginx(), 'a start');
is(count(), 12001, 'all of the list was saved');
--- stream_response: 1


=== TEST 8: ids change hands, and all users are there all the time
--- config eval: $::write
--- servers
echo echo
--- stream_config
vmess_users main:64m { alice %%ALICE%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- quits
--- may_alert
--- stream_client
# one that stays what it is, then pairs: each slice ends between the two of one
my $n = 4000;
my @before = (users(9999), map { users($_, $n + $_) } 1 .. $n);
my @after = (users(9999), map { { name => "u$_", id => id($n + $_) }, { name => 'u' . ($n + $_), id => id($_) } } 1 .. $n);
my %pair = map { $_->{name} => [$_->{id}] } @before;
push @{ $pair{ $_->{name} } }, $_->{id} for @after;

# the users that have neither the id from before nor the new one
my $odd = sub {
    my %u = map { $_->{name} => $_->{id} } @{ api(GET => 'users?fields=name,id&origin=api')->{json}{users} };
    is(scalar(keys %u), @before, $_[0]);
    return grep { my $name = $_; !grep { $_ eq ($u{$name} // '') } @{ $pair{$name} } } keys %pair;
};

my ($s, $pid) = stop_amid(\@after, \@before);
my @none = $odd->('all users are there');
is(scalar @none, 1, 'one has got an id that nobody knows');
my %old = map { $_ => 1 } children();
signal_nginx('HUP');
is(wait_for(sub { 2 == grep { !$old{$_} } children() }), 1, 'new workers');
is(join(' ', $odd->('after a reload as well')), "@none", 'he keeps it');
kill 'CONT', $pid;
like(slurp($s), qr/"added":0,"changed":8000,"removed":0,"unchanged":1\}/, 'the list is applied');
is(join(' ', $odd->('all of it')), '', 'and everybody knows his id');

# a worker dies, whose list is sent again
($s, $pid) = stop_amid(\@after, \@before);
halt('KILL', $pid);
is(wait_for(sub { !grep { $_ == $pid } children() }), 1, 'a worker has died');
@none = $odd->('all users are there');
is(scalar @none, 1, 'one has got an id that nobody knows');
like(api(PUT => 'users', { users => \@after })->{text}, qr/"added":0,"changed":\d+,"removed":0,/, 'once more');
is(join(' ', $odd->('all of it')), '', 'and everybody knows his id');

# with two ids, counters and flows
api(PUT => 'users', { users => [{ name => 'a', id => id(1), also => id(2), quota => '1g' }, { name => 'b', id => id(3), also => id(4), quota => '1g' },
                                { name => 'c', id => id(5), quota => '1g' }] });
my @f = map { flow(uuid => id($_), to => 'echo', data => 'hello') } 1 .. 5;
is($_->read(5), 'hello', 'a flow') for @f;
is(wait_for(sub { 3 == grep { $_->{used} } @{ api(GET => 'users?fields=used')->{json}{users} } }), 1, 'traffic');
is(api(PUT => 'users', { users => [{ name => 'c', id => id(1), also => id(3), quota => '1g' },
                                   { name => 'a', id => id(5), also => id(2), quota => '1g' },
                                   { name => 'b', id => id(4), quota => '1g' }] })->{json}{changed}, 3, 'ids change hands');
is(join(' ', map { $_->{used} } @{ api(GET => 'users?fields=used&origin=api&sort=name')->{json}{users} }), '20 20 10', 'counters stay');
is($f[$_]->send('x')->read(1), 'x', 'and flows of ids that stay') for 1, 3;
is($f[$_]->read(1) // '', '', 'others end') for 0, 2, 4;
1;
--- stream_response: 1


=== TEST 9: a reload amid a list takes its room
--- config eval: $::write
--- stream_config
vmess_users main:23m { alice %%ALICE%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- quits
--- may_alert
--- stream_client
my @list = users(1 .. 12000);
my ($s, $pid) = stop_amid(\@list);
my %old = map { $_ => 1 } children();

# each user has two more ids
edit_conf(sub { s/(proxy_pass vmess_target;)/'vmess_detour ports=' . stream_port() . "; $1"/e });
signal_nginx('HUP');
is(wait_for(sub { 2 == grep { !$old{$_} } children() }), 1, 'new workers');
kill 'CONT', $pid;
my $text = slurp($s);
like($text, qr/^HTTP\/1.1 507 .*"code":"ZoneFull","text":"no room for \d+ users of the list, which a reload took meanwhile/s, 'it is told');
my ($left) = $text =~ /for (\d+) users/;
is(count(), 12001 - ($left // 0), 'all others are there');
like(error_log(), qr/\[alert\].*"main": no room for $left users of a list/, 'and logged');
1;
--- stream_response: 1


=== TEST 10: ids change hands in the file
--- config eval: $::write
--- stream_config eval
"vmess_users main:64m {\n" . join('', map { sprintf "u%d %08x-0000-4000-8000-%012d;\n", $_, $_, $_ } 0 .. 11999) . "}\n";
--- quits
--- stream_client
# pairs: each one gets the id of the other
my %old = map { $_ => 1 } children();
edit_conf(sub { s/^u(\d+) \S+;/"u$1 " . id($1 ^ 1) . ';'/gme });
signal_nginx('HUP');
my %n;
do {
    $n{ count() }++;
} until 2 == grep { !$old{$_} } children();
is(join(' ', keys %n), 12000, 'all users are there all the time');
is(count(), 12000, 'and then');
is(api(GET => "users/u$_")->{json}{id}, id($_ ^ 1), "the id of u$_") for 0, 1, 6001, 11999;
1;
--- stream_response: 1
