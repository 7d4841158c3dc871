# What users of a zone have by default, and the class of a user.

use lib "t/lib";
use TestVMess;
use VMess::API;

plan "no_plan";
no_shuffle();

# defaults, then parameters of alice and bob

sub users {
    my ($defaults, $alice, $bob) = @_;
    return "vmess_users main:1m {\nvmess_user_defaults $defaults;\n"
           . "alice $User{alice} $alice;\nbob $User{bob} $bob;\n}\n";
}

sub refused {
    my ($user) = @_;
    return flow(user => $user, to => 'echo', data => 'x' x 5000)->read_eof eq '';
}

run_tests();

__DATA__

=== TEST 1: a class chooses the server, and is in the log
--- servers
echo echo
gold tag gold
--- stream_config
vmess_users main:1m { alice %%ALICE%% class=gold.1; bob %%BOB%%; }
map $vmess_class $where { gold.1 127.0.0.1:%%gold%%; '' 127.0.0.1:%%echo%%; }
log_format l '$vmess_user:$vmess_class';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass $where;
--- stream_client
my @flows = map { flow(user => $_, to => 'echo', data => 'hello') } qw(alice bob);
is($flows[0]->read(10), 'gold:hello', 'gold');
is($flows[1]->read(5), 'hello', 'and not');
$_->close for @flows;
flow(user => 'mallory', to => 'echo', data => 'x' x 5000)->read_eof;
my @l;
wait_for(sub { (@l = split /\n/, access_log()) == 3 });
is(join(', ', sort @l), '-:-, alice:gold.1, bob:-', 'the log');
--- stream_response: 1


=== TEST 2: a parameter of a user comes before the default
--- servers
echo echo
--- stream_config eval: main::users('max_conns=1 class=silver', 'max_conns=2', '') . "log_format l '\$vmess_class';"
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my @flows;
for my $user (qw(alice bob)) {
    push @flows, my $f = flow(user => $user, to => 'echo', data => 'hello');
    is($f->read(5), 'hello', "a flow of $user");
}
is(main::refused('bob'), 1, 'no other one of bob');
push @flows, my $f = flow(to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'one of alice');
is(main::refused('alice'), 1, 'and no third');
$_->close for @flows;
my @l;
wait_for(sub { (@l = grep /silver/, split /\n/, access_log()) == 3 });
is(scalar @l, 3, 'the class is that of the zone');
--- stream_response: 1


=== TEST 3: a limit of the zone that a user does not have; a reload changes it
--- servers
echo echo
--- stream_config eval: main::users('expires=2001-09-09 max_conns=1', 'expires=off', '')
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
is(flow(to => 'echo', data => 'hello')->read(5), 'hello', 'alice does not expire');
is(main::refused('bob'), 1, 'bob has expired');
edit_conf(sub { s/expires=2001-09-09/expires=32503680000/ });
reload();
wait_for(sub { workers_alive() == 1 });
is(flow(user => 'bob', to => 'echo', data => 'hello')->read(5), 'hello', 'and now has not');
--- stream_response: 1


=== TEST 4: users of the API have defaults, and others after a reload
--- config
location /api/ { vmess_api main write; }
--- stream_config
vmess_users main:1m { vmess_user_defaults max_conns=3 class=silver; alice %%ALICE%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $api = VMess::API->new(connect => sub { tcp(http_port()) });
my $get = sub {
    my $u = $api->call(GET => "users/$_[0]")->{json};
    return join ' ', map { $_ // '-' } @$u{qw(max_conns class rate_up)};
};
is($api->call(PUT => 'users/carol', { id => '3a1f0a5e-0c55-4a6c-9a52-0e9b4f5d7c11' })->{status},
   201, 'carol has nothing of her own');
is($api->call(PUT => 'users/dave', { id => '8c9e6679-7425-40de-944b-e07fc1f90ae7',
                                     max_conns => 7, class => 'gold' })->{status},
   201, 'dave has');
is($get->('carol'), '3 silver -', 'carol');
is($get->('dave'), '7 gold -', 'dave');
edit_conf(sub { s/max_conns=3 class=silver/max_conns=4 rate_up=1m/ });
reload();
wait_for(sub { $get->('alice') eq '4 - 1048576' });
is($get->('carol'), '4 - 1048576', 'carol has the new ones');
is($get->('dave'), '7 gold 1048576', 'and dave what he has not');
is($api->call(PATCH => 'users/dave', { max_conns => undef })->{status}, 200, 'gives it up');
is($get->('dave'), '4 gold 1048576', 'for the default');
is($api->call(PATCH => 'users/dave', { rate => '2m' })->{status}, 200, 'a rate of his own');
is($get->('dave'), '4 gold -', 'stands for both directions');
is($api->call(PATCH => 'users/dave', { hold_until => '2040-01-01T00:00:00Z' })->{status}, 422,
   'a time on hold alone');
edit_conf(sub { s/max_conns=4/max_conns=5 hold=1d/ });
reload();
wait_for(sub { $get->('alice') eq '5 - 1048576' });
is($api->call(PATCH => 'users/dave', { hold_until => '2040-01-01T00:00:00Z' })->{status}, 200,
   'goes with the default');
is($api->call(GET => 'users/dave')->{json}{status}, 'on_hold', 'dave is on hold');
is("@{ $api->{problems} }", '', 'all is as the document says');
--- stream_response: 1
