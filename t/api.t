# The API: users read and changed over http.  Each answer is checked against the
# document of the server, see t/lib/VMess/API.pm.

use lib "t/lib";
use TestVMess;
use Time::Local ();
use VMess::API;

plan "no_plan";
no_shuffle();
workers(2);

our $Carol = '3a1f0a5e-0c55-4a6c-9a52-0e9b4f5d7c11';
our $Dave = '8c9e6679-7425-40de-944b-e07fc1f90ae7';

our $write = 'location /api/ { vmess_api main write; } location /read/ { vmess_api main; }';

our $api;

# a call; the last answer is checked when the next one is made

sub api {
    $api //= VMess::API->new(connect => sub { tcp(http_port()) });
    return $api->checked(@_);
}

# status and field or text of an error

sub refusal {
    my $a = api(@_);
    my $e = ($a->{json} // {})->{error} // {};
    is($e->{status}, $a->{status}, 'the status in the error') if $a->{status} >= 400;
    return "$a->{status} " . ($e->{field} // '') . ": " . ($e->{text} // '');
}

sub names { return join ' ', map { $_->{name} } @{ $_[0]{json}{users} } }

sub ok_flow {
    my (%o) = @_;
    return flow(to => 'echo', data => 'hello', %o)->read(5) eq 'hello';
}

run_tests();

__DATA__

=== TEST 1: users are read
--- config eval: $::write
--- http_config
server { listen 127.0.0.1:%%PORT_1%%; location /api { vmess_api main; } }
--- servers
echo echo
--- stream_config
vmess_users main:1m { alice %%ALICE%% expires=2040-01-31T18:00:00+01:00 quota=1g rate=2m
                                      max_conns=5 max_ips=2 class=gold;
                      bob %%BOB%% disabled quota_reset=month@31; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $a = api(GET => '');
is($a->{status}, 200, 'the index');
is("@{ $a->{json} }{qw(zone users)}", 'main 2', 'zone and users');
like(`head -2 docs/CHANGES`, qr/\Q$a->{json}{version}\E/, 'the version');

$a = api(GET => 'users/alice');
my %u = %{ $a->{json} };
is($u{id}, $User{alice}, 'the id where one may write');
is(join(' ', map { "$_=" . ($u{$_} // 'null') } sort grep { $_ ne 'tags' && $_ ne 'id' && $_ ne 'token' } keys %u),
   'addresses=0 also=null class=gold disabled=0 down=0 ends=2040-01-31T17:00:00Z expires=2040-01-31T17:00:00Z first_seen=null flows=0 '
   . 'hold=null hold_until=null last_seen=null max_conns=5 max_ips=2 name=alice origin=conf '
   . 'period=null quota=1073741824 quota_reset=null rate=2097152 rate_down=null rate_up=null refused=0 '
   . 'status=active until=null up=0 used=0', 'all that is there');

{
    local $api->{base} = '/read/';
    $a = api(GET => 'users/alice');
    is($a->{json}{id}, undef, 'no id where one may not write');
    ok(!exists $a->{json}{also}, 'and no other one');
    ok(!exists $a->{json}{token}, 'and no token');
    unlike(api(GET => 'users')->{text}, qr/b831381d/, 'nor in a list');
    unlike(api(GET => 'users?fields=name,id')->{text}, qr/b831381d/, 'nor if asked for');
    my $r = api(PUT => 'users/carol', { id => $Carol });
    is($r->{status}, 405, 'nothing can be written');
    is($r->{header}{allow}, 'GET, HEAD', 'what is allowed');
    like($r->{json}{error}{text}, qr/no "write"/, 'and why');
    is(api(POST => 'users/alice/kick')->{header}{allow}, '', 'of what is for writing alone');
}

is(join(' ', @{ api(GET => 'users/bob')->{json} }{qw(status quota_reset)}), 'disabled month@31', 'another user');
is(api(HEAD => 'users/bob')->{text}, '', 'HEAD');
is(api(HEAD => 'users')->{text}, '', 'HEAD of the list');
is(names(api(GET => 'users')), 'alice bob', 'the list');

my $f = flow(to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'a flow');
wait_for(sub { api(GET => 'users/alice')->{json}{used} >= 10 });
%u = %{ api(GET => 'users/alice')->{json} };
is("$u{up} $u{down} $u{used} $u{flows} $u{addresses}", '5 5 10 1 1', 'its counters');
like($u{first_seen}, qr/^20\d\d-/, 'and when it was');
flow(user => 'bob', to => 'echo', data => 'x' x 5000)->read_eof;
wait_for(sub { api(GET => 'users/bob')->{json}{refused} });
is(api(GET => 'users/bob')->{json}{refused}, 1, 'what was refused');

my $s = api(GET => 'stats')->{json};
is("$s->{users} $s->{status}{active} $s->{status}{disabled} $s->{origin}{conf} $s->{up} $s->{down} $s->{flows} $s->{total} $s->{refused}",
   '2 1 1 2 5 5 1 1 1', 'sums');
$f->close;

like(refusal(GET => 'users/carol'), qr/^404 : there is no user "carol" in vmess_users "main"$/, 'nobody');
like(refusal(GET => $_), qr{^404 : there is no "/api/$_": "vmess_api" is in the location "/api/", below which there are users, }, "$_ is nowhere")
    for qw(user users/ statsx openapi), 'x/users';
like(refusal(GET => 'x' x 3000), qr{^404 : there is no "/api/x{123}": .* and openapi\.json$}, 'nor a long path');
is(api(DELETE => 'stats')->{header}{allow}, 'GET, HEAD', 'what may be done to stats');
is(api(POST => 'users')->{header}{allow}, 'GET, HEAD, PUT, PATCH', 'and to users');
is(api(POST => 'users/alice', {})->{header}{allow}, 'GET, HEAD, PUT, PATCH, DELETE', 'and to one');
is(api(GET => 'users/alice/kick')->{header}{allow}, 'POST', 'and to a kick');

my $other = VMess::API->new(connect => sub { tcp(stream_port() + 1) }, base => '/api/');
is($other->call(GET => 'users/bob')->{json}{name}, 'bob', 'a location without a slash at its end');
is($other->call(GET => '')->{json}{write}, JSON::PP::false, 'with one');
$other->{base} = '/api';
is($other->call(GET => '')->{json}{zone}, 'main', 'and without one behind it');
--- stream_response: 1


=== TEST 2: a user is created, changed and removed
--- config eval: $::write
--- servers
echo echo
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $a = api(PUT => 'users/carol', { id => $Carol, quota => '1m', disabled => JSON::PP::false });
is($a->{status}, 201, 'created');
is($a->{json}{quota}, 1048576, 'with a quota');
is($a->{json}{origin}, 'api', 'by the API');
ok(ok_flow(uuid => $Carol), 'and is let in');
my $f = flow(uuid => $Carol, to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'once more');

my $etag = $a->{header}{etag};
my $same = api(PUT => 'users/carol', { id => $Carol, quota => 1048576 });
is("$same->{status} $same->{header}{etag}", "200 $etag", 'the same is no change');
is(api(GET => 'users/carol', undef, 'If-None-Match' => $etag)->{status}, 304, 'not modified');
is(api(GET => 'users/carol', undef, 'If-Match' => $etag)->{status}, 200, 'matched');
like(refusal(GET => 'users/carol', undef, 'If-Match' => '"x"'), qr/^412 /, 'or not');

$a = api(PATCH => 'users/carol', { max_conns => 7, quota => undef }, 'If-Match' => "W/$etag, \"x\"");
is($a->{status}, 200, 'changed, if it is as it was');
is(join(' ', map { $_ // 'null' } @{ $a->{json} }{qw(max_conns quota id)}), "7 null $Carol", 'two of its parameters');
isnt($a->{header}{etag}, $etag, 'another ETag');
like(refusal(PATCH => 'users/carol', { max_conns => 8 }, 'If-Match' => $etag), qr/^412 : If-Match is not/, 'too late');
like(refusal(PUT => 'users/carol', { id => $Carol }, 'If-Match' => $etag), qr/^412 /, 'to replace it, too');
like(refusal(DELETE => 'users/carol', undef, 'If-Match' => $etag), qr/^412 /, 'and to remove it');
like(refusal(PUT => 'users/dave', { id => $Dave }, 'If-Match' => '*'), qr/^412 /, 'there is none to match');
like(refusal(PUT => 'users/carol', { id => $Dave }, 'If-None-Match' => '*'), qr/^412 : user "carol" is there already/, 'there must be none');
is(api(PUT => 'users/erin', { id => $Dave }, 'If-None-Match' => '*')->{status}, 201, 'and there is none');
is(api(DELETE => 'users/erin')->{status}, 204, 'until now');
is(api(PATCH => 'users/carol', { rate => '1g' })->{json}{rate}, 1 << 30, 'a rate in gigabytes');
is(api(PATCH => 'users/carol', {}, 'If-Match' => '*', 'Content-Type' => 'application/merge-patch+json; x=y')->{status},
   200, 'nothing is to be changed');

is(api(PATCH => 'users/carol', { also => $Dave, until => '2040-01-31', tags => [3, 0, 63] })->{json}{also}, $Dave,
   'a second id');
ok(ok_flow(uuid => $Dave), 'is let in');
$a = api(GET => 'users/carol')->{json};
is("$a->{until} @{ $a->{tags} }", '2040-01-31T00:00:00Z 0 3 63', 'until when, and tags');
is(api(PUT => 'users/carol', $a)->{status}, 200, 'what was read can be written');
is_deeply(api(GET => 'users/carol')->{json}{tags}, [0, 3, 63], 'and is the same');
is(api(PATCH => 'users/carol', { also => undef, tags => undef })->{json}{until}, undef, 'no second id any more');
flow(uuid => $Dave, to => 'echo', data => 'x' x 5000)->read_eof;

syswrite $f->{sock}, '';
is(api(DELETE => 'users/carol')->{status}, 204, 'removed');
is($f->read_eof, '', 'its flow ends');
is(api(GET => 'users/carol')->{status}, 404, 'gone');
is(api(DELETE => 'users/carol')->{status}, 404, 'once');
is(api(PATCH => 'users/carol', { max_conns => 1 })->{status}, 404, 'and not to be changed');
is(api(PUT => "users/%C3%A9%2F%25", { id => $Carol })->{json}{name}, "\x{e9}/%", 'a name in UTF-8, and with a slash');
is(names(api(GET => 'users')), "alice \x{e9}/%", 'in the list');

# the name of one who has just gone
api(PUT => 'users/erin', { id => $Dave, hold => '30d', hold_until => '2040-01-01' });
ok(ok_flow(uuid => $Dave), 'a flow of erin');
ok(wait_for(sub { api(GET => 'users/erin')->{json}{used} == 10 }), 'is counted');
is(api(DELETE => 'users/erin')->{status}, 204, 'she goes');
$a = api(PUT => 'users/erin', { id => '0d2c3f0e-7f56-4f0c-a3a8-1f9d5f1f6a55', hold => '30d', hold_until => '2040-01-01' })->{json};
is(join(' ', map { $_ // 'null' } @$a{qw(used first_seen status)}), '0 null on_hold', 'another id: another user');
--- stream_response: 1


=== TEST 3: what is refused
--- config
location /api/ { vmess_api main write; client_max_body_size 4k; }
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
--- stream_client
my %id = (id => $Carol);
my @bad = (
    [{ }, 'id: is missing: must be a UUID, or a text of 1 to 30 bytes'],
    [{ id => '' }, 'id: must be a UUID'],
    [{ id => 5 }, 'id: must be a UUID'],
    [{ id => undef }, 'id: must be a UUID'],
    [{ id => "a\0b" }, 'id: must be a UUID'],
    [{ id => 'b831381d-6324-4d53-ad4f-8cda48b3081x' }, 'id: must be a UUID'],
    [{ %id, name => 'dave' }, 'name: must be "carol" as in the path'],
    [{ %id, name => '' }, 'name: must be a string of 1 to 64 bytes'],
    [{ %id, name => 'a b' }, 'name: has an invalid character, spaces'],
    [{ %id, also => $Carol }, 'also: must be another id than "id"'],
    [{ %id, also => 'x' x 31 }, 'also: must be a UUID, or a text of 1 to 30 bytes, or null'],
    [{ %id, until => '2040-01-31' }, 'until: has no effect without "also"'],
    [{ %id, also => $Dave, until => 'x' }, 'until: must be a time such as'],
    [{ %id, also => $Dave, until => JSON::PP::true }, 'until: must be a time such as'],
    (map { [{ %id, expires => $_ }, 'expires: must be a date such as "2027-01-31" (UTC)'] }
         'soon', '', 5, -1, JSON::PP::true, [], {}, 1.5),
    [{ %id, quota => 0 }, 'quota: must be a size such as "100g"'],
    [{ %id, quota => '5x' }, 'quota: must be a size'],
    [{ %id, rate => 'x' }, 'rate: must be bytes per second such as "2m", with k, m or g, or "off", or null'],
    [{ %id, max_conns => 2147483648 }, 'max_conns: must be a number from 1 to 2147483647'],
    [{ %id, quota_reset => 'month@32' }, 'quota_reset: must be never, day, week'],
    [{ %id, class => 'a b' }, 'class: must be a word'],
    [{ %id, class => 1 }, 'class: must be a word'],
    [{ %id, token => 'a/b' x 9 }, 'token: must be 16 to 47 letters'],
    [{ %id, token => 1234567890123456 }, 'token: must be 16 to 47 letters'],
    [{ %id, disabled => 'yes' }, 'disabled: must be true or false'],
    [{ %id, hold_until => '2040-01-31' }, ': "hold_until" has no effect without "hold"'],
    [{ %id, tags => [64] }, 'tags: must be a list of numbers from 0 to 63'],
    [{ %id, tags => 1 }, 'tags: must be a list'],
    [{ %id, up => [] }, 'up: is read-only'],
    [{ %id, alter_id => 1 }, ': there is no "alter_id", parameters are name, id, also'],
    [{ %id, remove => JSON::PP::true }, ': there is no "remove"'],
    ['[]', ': a user must be an object'],
    ["{\"id\":\"$Carol\",\"quota\":1,\"quota\":2}", 'quota: is there twice'],
);
for (@bad) {
    my ($body, $text) = @$_;
    like(refusal(PUT => 'users/carol', $body), qr/^422 \Q$text\E/, ref $body ? JSON::PP->new->canonical->encode($body) : $body);
}
like(refusal(PUT => 'users/carol', $_), qr/^400 : the body is not JSON: .* at byte \d+$/, "not JSON: $_")
    for '', '{', '{"id":}', "{\"id\":\"\xff\"}", '{"id":"' . 'x' x 300 . '"}', '{} {}';
like(refusal(PUT => 'users/carol', '{}', 'Content-Type' => $_), qr/^415 : the body must be JSON/, "Content-Type $_")
    for '', 'text/plain', 'application/jsonx', 'application/merge-patch+json';
is(api(PUT => 'users/carol', ' ' x 5000)->{status}, 413, 'a body that is too large');
like(refusal(PUT => 'users/alice', \%id), qr/^409 : user "alice" is defined in \S+nginx\.conf:\d+, change it there/, 'defined in the configuration');
like(refusal(PATCH => 'users/alice', {}), qr/^409 /, 'nor changed');
like(refusal(DELETE => 'users/alice'), qr/^409 /, 'nor removed');
like(refusal(PUT => 'users/carol', { id => $User{alice} }), qr/^409 id: an id of user "carol" is that of user "alice"/, 'an id of another');
like(refusal(PUT => 'users/carol', { id => $Carol, also => $User{alice} }), qr/^409 also: an id of user "carol" is that of user "alice"/, 'as the second one');
like(refusal(PUT => 'users/' . 'x' x 65, \%id), qr/^422 name: /, 'a name that is too long');
like(refusal(PUT => 'users/a%20b', \%id), qr/^422 name: /, 'a name with a space');
like(refusal(PUT => 'users/%ff', \%id), qr/^422 name: /, 'a name that is not UTF-8');
is(names(api(GET => 'users')), 'alice', 'nothing was changed');
--- stream_response: 1


=== TEST 4: lists are filtered, sorted and come by pages
--- config eval: $::write
--- servers
echo echo
--- stream_config
vmess_users main:1m { alice %%ALICE%%; bob %%BOB%% disabled expires=2040-01-01; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
for my $i (1 .. 9) {
    is(api(PUT => "users/u$i", { id => sprintf('%08x-0000-4000-8000-00000000000%d', 99 - $i, $i),
                                 expires => $i % 3 ? undef : (2040 + $i) . '-01-01' })->{status}, 201, "u$i");
}
ok(ok_flow(uuid => '0000005f-0000-4000-8000-000000000004'), 'a flow of u4');
wait_for(sub { !api(GET => 'users/u4')->{json}{flows} });

# all pages
sub pages {
    my ($query) = @_;
    my ($after, @pages);
    do {
        my $a = api(GET => "users?$query" . (defined $after ? "&after=$after" : ''));
        is($a->{status}, 200, 'a page');
        push @pages, names($a);
        $after = $a->{json}{next};
    } while (defined $after && @pages < 20);
    return join ' / ', @pages;
}

my $all = 'alice bob u1 u2 u3 u4 u5 u6 u7 u8 u9';
is(join(' ', sort split / /, names(api(GET => 'users'))), $all, 'all');
is(join(' ', sort split m{ / | }, pages('limit=4')), $all, 'all by pages');
is(pages('sort=name&limit=4'), 'alice bob u1 u2 / u3 u4 u5 u6 / u7 u8 u9', 'by name');
is(pages('sort=-name&limit=5'), 'u9 u8 u7 u6 u5 / u4 u3 u2 u1 bob / alice', 'the other way round');
is(pages('sort=name&limit=11'), $all, 'one page');
is(pages('sort=name'), $all, 'without a limit');
is(pages('sort=used&limit=3&name=u'), 'u1 u2 u3 / u5 u6 u7 / u8 u9 u4', 'by a counter, then by name');
is(pages('sort=-used&limit=2&name=u'), 'u4 u9 / u8 u7 / u6 u5 / u3 u2 / u1', 'the largest first');
is(pages('sort=-expires&limit=4&name=u'), 'u9 u6 u3 u8 / u7 u5 u4 u2 / u1', 'by a time');
is(pages('sort=-first_seen&limit=1&name=u4'), 'u4', 'by the first flow');
is(pages('sort=flows&limit=2&origin=conf'), 'alice bob', 'of the configuration');
is(names(api(GET => 'users?status=disabled')), 'bob', 'by status');
is(names(api(GET => 'users?status=expired')), '', 'of none');
is(names(api(GET => 'users?origin=conf&name=li')), 'alice', 'by a part of the name');
is(api(GET => 'users?sort=name&fields=name,status&limit=1')->{text},
   '{"users":[{"name":"alice","status":"active"}],"next":"alice"}', 'some fields');
is(refusal(GET => "users?$_->[0]"), "400 $_->[1]", $_->[0]) for
    ['limit=0', 'limit: must be a number from 1 on'],
    ['limit=x', 'limit: must be a number from 1 on'],
    ['sort=name&limit=1001', 'limit: must be a number from 1 to 1000 with "sort"'],
    ['status=on', 'status: must be active, disabled, limited, expired or on_hold'],
    ['origin=none', 'origin: must be conf or api'],
    ['origin=x', 'origin: must be conf or api'],
    ['name=%00', 'name: must be a part of a name'],
    ['status', 'status: must be active, disabled, limited, expired or on_hold'],
    (map { ["$_->[0]", "$_->[1]: there is no such argument, there are limit, after, name, status, origin, sort, fields"] }
         ['statuss=active', 'statuss'], ['limit=1&&x', 'x'], ['=1', ''], ['st%61tus=active', 'st%61tus'], ['x' x 3000, 'x' x 64],
         ['name=a&stat=limited&x=1', 'stat']),
    ['fields=name,x', 'fields: must be names of fields with commas between them, such as "name,used"'],
    map { [$_, 'after: must be "next" of the page before'] }
        'after=', 'after=x', 'after=1,x', 'sort=up&after=1', 'sort=up&after=x,y', 'sort=name&after=' . 'x' x 65;
is(names(api(GET => 'users?&NAME=ali&')), 'alice', 'empty arguments, and in other letters');
like(refusal(GET => "users?sort=$_"), qr/^400 sort: must be name, up, /, "sort=$_") for '', '-', 'x', 'id', 'quota';

my $etag = api(GET => 'users')->{header}{etag};
is(api(GET => 'users?limit=1', undef, 'If-None-Match' => $etag)->{status}, 304, 'not modified');
is(api(GET => 'users', undef, 'If-Match' => $etag)->{status}, 200, 'matched');
api(PATCH => 'users/u1', { max_conns => 1 });
is(api(GET => 'users', undef, 'If-None-Match' => $etag)->{status}, 200, 'modified');
like(refusal(GET => 'users', undef, 'If-Match' => $etag), qr/^412 : If-Match/, 'not matched');
my %s = %{ api(GET => 'stats')->{json} };
is("$s{users} $s{origin}{api} $s{status}{disabled}", '11 9 1', 'sums');
--- stream_response: 1


=== TEST 5: the whole list of users
--- config
client_body_buffer_size 1k;
location /api/ { vmess_api main write; }
--- servers
echo echo
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $id = sub { sprintf '%08x-0000-4000-8000-%012d', 1000 + $_[0], $_[0] };
my $counts = sub { join ' ', map { $_[0]{json}{$_} // '-' } qw(added changed removed unchanged) };
my @users = map { { name => "u$_", id => $id->($_) } } 1 .. 100;
my $a = api(PUT => 'users', { users => \@users });
is("$a->{status} " . $counts->($a), '200 100 0 0 0', 'added');
is($counts->(api(PUT => 'users', { users => \@users })), '0 0 0 100', 'the same once more');
is($a->{header}{etag}, api(GET => 'users')->{header}{etag}, 'nothing has changed');

my $f = flow(uuid => $id->(7), to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'a flow');
$users[4]{max_conns} = 3;
splice @users, 50, 2;
push @users, { name => 'new', id => $id->(200) };
is($counts->(api(PUT => 'users', { users => \@users })), '1 1 2 97', 'one is new, one another, two have gone');
is(names(api(GET => 'users?name=u51')), '', 'this one');
is($f->send('x')->read(1), 'x', 'the flow goes on');

# ids change hands
ok(ok_flow(uuid => $id->(2)), 'a flow of u2');
ok(wait_for(sub { api(GET => 'users/u2')->{json}{used} == 10 }), 'is counted');
@users[0, 1] = ({ name => 'u1', id => $id->(2) }, { name => 'u2', id => $id->(1) });
pop @users;
push @users, { name => 'renamed', id => $id->(200) };
is($counts->(api(PUT => 'users', { users => \@users })), '1 2 1 96', 'two have changed ids, one its name');
is(api(GET => 'users/u1')->{json}{id}, $id->(2), 'the id of u1');
is(api(GET => 'users/u2')->{json}{id}, $id->(1), 'and of u2');
is(api(GET => 'users/u2')->{json}{used}, 10, 'with his counters');
ok(ok_flow(uuid => $id->(1)), 'is let in');

# what GET gave
$a = api(GET => 'users?origin=api');
is($counts->(api(PUT => 'users', $a->{json}, 'If-Match' => $a->{header}{etag})), '0 0 0 99', 'what was read, as it is');
is(refusal(PUT => 'users', api(GET => 'users?origin=api&limit=5')->{json}),
   '422 next: this is one page of a list, send all of it', 'but no page');
like(refusal(PUT => 'users', { users => [] }, 'If-Match' => '"x"'), qr/^412 : If-Match/, 'only if it is as it was');

# nothing is changed
my $etag = api(GET => 'users')->{header}{etag};
my @few = @users[0 .. 2];
my @bad = (
    [[@few, { name => 'x' }], 'id: users[3]: is missing: must be a UUID'],
    [[@few, { id => $id->(300) }], 'name: users[3]: is missing'],
    [[@few, $few[0]], 'name: users[3]: user "u1" is there twice'],
    [[@few, { name => 'x', id => $few[0]{id} }], 'id: users[3]: an id of user "x" is there twice'],
    [[@few, { name => 'x', id => $id->(300), also => $few[0]{id} }], 'also: users[3]: an id of user "x" is there twice'],
    [[@few, { name => 'x', id => $id->(300), quota => 'much' }], 'quota: users[3]: must be a size'],
    [[@few, { name => 'x', id => $id->(300), remove => JSON::PP::true }], ': users[3]: there is no "remove"'],
    [[@few, 5], ': users[3]: a user must be an object'],
    [{}, ': the body must be {"users": [{...}, ...]}'],
);
like(refusal(PUT => 'users', { users => $_->[0] }), qr/^422 \Q$_->[1]\E/, $_->[1]) for @bad;
like(refusal(PUT => 'users', $_), qr/^422 : the body must be \{"users"/, $_)
    for '[]', '{}', '{"next":null}', '{"users":[],"users":[]}', '{"x":1}';
like(refusal(PUT => 'users', { users => [@few, { name => 'alice', id => $id->(300) }] }),
     qr/^409 : users\[3\]: user "alice" is defined in \S+:\d+/, 'of the configuration');
like(refusal(PUT => 'users', { users => [@few, { name => 'x', id => $User{alice} }] }),
     qr/^409 id: users\[3\]: an id of user "x" is that of user "alice"/, 'with the id of such a one');
is(api(GET => 'users')->{header}{etag}, $etag, 'nothing was changed');

# several at once
$a = api(PATCH => 'users', { users => [{ name => 'u1', class => 'gold' }, { name => 'u3', remove => JSON::PP::true },
                                       { name => 'y', id => $id->(400), remove => JSON::PP::false },
                                       { name => 'u4', class => undef }] });
is("$a->{status} " . $counts->($a), '200 1 1 1 1', 'some are changed, others stay');
is(api(GET => 'users/u1')->{json}{class}, 'gold', 'a class');
is(api(GET => 'users/u5')->{json}{max_conns}, 3, 'and what was');
is(api(GET => 'users/u3')->{status}, 404, 'one has gone');
is($counts->(api(PATCH => 'users', { users => [{ name => 'u4', remove => JSON::PP::true },
                                               { name => 'z', id => $id->(4) }] })), '1 0 1 0', 'an id changes hands');
for (
    [[{ name => 'u1', class => 'silver' }, { name => 'nobody', remove => JSON::PP::true }], '404 : users[1]: there is no user "nobody"'],
    [[{ name => 'u1', class => 'silver' }, { name => 'nobody', class => 'gold' }], '422 id: users[1]: is missing: must be a UUID'],
    [[{ name => 'u1', class => 'silver' }, { name => 'alice', class => 'gold' }], '409 : users[1]: user "alice" is defined'],
    [[{ name => 'u1', class => 'silver' }, { name => 'u2', id => $id->(5) }], '409 id: users[1]: an id of user "u2" is that of user "u5"'],
    [[{ name => 'u2', also => $id->(5) }], '409 also: users[0]: an id of user "u2" is that of user "u5"'],
    [[{ name => 'u1', remove => 1 }], '422 remove: users[0]: must be true or false'],
) {
    like(refusal(PATCH => 'users', { users => $_->[0] }), qr/^\Q$_->[1]\E/, $_->[1]);
}
like(refusal(PATCH => 'users', '{"users":[{"name":"u1","remove":true,"remove":true}]}'), qr/^422 remove: users\[0\]: is there twice/, 'remove twice');
is(api(GET => 'users/u1')->{json}{class}, 'gold', 'nothing was changed');

is($counts->(api(PUT => 'users', { users => [] })), '0 0 99 0', 'all have gone');
is(names(api(GET => 'users')), 'alice', 'but for the configuration');
is($f->read_eof, '', 'and their flows');
--- stream_response: 1


=== TEST 6: flows are ended, counters begin anew
--- config eval: $::write
--- servers
echo echo
--- stream_config
vmess_users main:1m { alice %%ALICE%% quota=1000 quota_reset=month@31; bob %%BOB%% hold=30d; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
is(join(' ', map { $_ // 'null' } @{ api(GET => 'users/bob')->{json} }{qw(status hold period ends)}), 'on_hold 2592000 null null',
   'the time of bob has not begun');
my @f = map { flow(user => $_, to => 'echo', data => 'hello') } qw(alice alice bob);
is($_->read(5), 'hello', 'a flow') for @f;
my $bob = api(GET => 'users/bob')->{json};
is($bob->{status}, 'active', 'now it has');
my $seconds = sub { Time::Local::timegm(reverse(split /[-T:Z]/, $_[0] =~ s/-(\d\d)-/sprintf '-%02d-', $1 - 1/re)) };
is($seconds->($bob->{ends}) - $seconds->($bob->{first_seen}), 2592000, 'and is to end');
is($bob->{expires}, undef, 'which is no time of its own');
like(api(GET => 'users/alice')->{json}{period}, qr/^20\d\d-\d\d-\d\dT00:00:00Z$/, 'the period of alice');
is(api(POST => 'users/alice/kick')->{json}{name}, 'alice', 'a kick');
is($_->read_eof, '', 'a flow of hers ends') for @f[0, 1];
is($f[2]->send('x')->read(1), 'x', 'others go on');
ok(ok_flow(), 'she may come again');

my $f = flow(to => 'echo', data => 'x' x 2000);
$f->read_eof;
wait_for(sub { api(GET => 'users/alice')->{json}{status} eq 'limited' });
is(names(api(GET => 'users?status=limited')), 'alice', 'the quota is used up');
my $a = api(POST => 'users/alice/reset', undef, 'If-Match' => '*')->{json};
is("@$a{qw(up down used status)}", '0 0 0 active', 'until a reset');
wait_for(sub { ok_flow() });
ok(ok_flow(), 'she is let in');
cmp_ok(api(GET => 'stats')->{json}{up}, '>', 2000, 'the sum stays');
is(api(POST => 'users/carol/kick')->{status}, 404, 'nobody to kick');
is(api(POST => 'users/carol/reset')->{status}, 404, 'nor to reset');
like(refusal(POST => 'users/alice/kick', undef, 'If-Match' => '"x"'), qr/^412/, 'another one');
--- stream_response: 1


=== TEST 7: many users
--- config
location /api/ { vmess_api main write; client_max_body_size 10m; }
location /slow/ { vmess_api main write; limit_rate 300k; output_buffers 1 4k; }
location /brief/ { vmess_api main; send_timeout 100ms; }
--- stream_config
vmess_users main:8m { alice %%ALICE%%; }
--- stream_client
my $users = sub { { users => [map { { name => "user-$_", id => sprintf('%08x-0000-4000-8000-%012d', $_, $_) } } 1 .. $_[0]] } };
is(api(PUT => 'users', $users->(3000))->{json}{added}, 3000, 'added');
my $a = api(GET => 'users?fields=name');
is(scalar @{ $a->{json}{users} }, 3001, 'listed');
my %seen = map { $_->{name} => 1 } @{ $a->{json}{users} };
is(scalar keys %seen, 3001, 'each one once');
is(api(GET => 'stats')->{json}{users}, 3001, 'sums');
is(scalar @{ api(GET => 'users?sort=-name&limit=1000&fields=name')->{json}{users} }, 1000, 'the largest page');
{
    local $api->{base} = '/slow/';
    is(scalar @{ api(GET => 'users?fields=name,status')->{json}{users} }, 3001, 'slowly');
}

# a client that does not read
my $s = tcp(http_port());
setsockopt $s, Socket::SOL_SOCKET(), Socket::SO_RCVBUF(), 4096;
syswrite $s, "GET /brief/users HTTP/1.1\r\nHost: x\r\n\r\n" x 8;
is(wait_log(qr/client timed out/), 1, 'who does not read is given up');

# one that goes away
$s = tcp(http_port());
syswrite $s, "GET /slow/users HTTP/1.1\r\nHost: x\r\n\r\n";
read_n($s, 100);
close $s;
is(api(PUT => 'users', $users->(10))->{json}{removed}, 2990, 'removed');
is(scalar @{ api(GET => 'users')->{json}{users} }, 11, 'listed');
--- stream_response: 1


=== TEST 8: a zone that is full
--- config
location /api/ { vmess_api main write; client_max_body_size 10m; }
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
--- stream_client
my $id = sub { sprintf '%08x-0000-4000-8000-%012d', $_[0], $_[0] };
like(refusal(PUT => 'users', { users => [map { { name => "u$_", id => $id->($_) } } 1 .. 5000] }),
     qr/^507 : users\[\d+\]: no room for user "u\d+" in vmess_users "main", give it a larger size/, 'a list');
is(api(GET => '')->{json}{users}, 1, 'of which nothing is there');
my $n = 0;
while (api(PATCH => 'users', { users => [map { { name => "u$_", id => $id->($_) } } $n + 1 .. $n + 50] })->{status} == 200) { $n += 50 }
cmp_ok($n, '>=', 500, 'there was room for so many');
while (api(PUT => 'users/u' . ($n + 1), { id => $id->($n + 1) })->{status} == 201) { $n++ }
like(refusal(PUT => 'users/more', { id => $id->(9999) }), qr/^507 : no room for user "more"/, 'nor for one more');
is(api(DELETE => 'users/u1')->{status}, 204, 'one goes');
wait_for(sub { api(PUT => 'users/more', { id => $id->(9999) })->{status} == 201 });
is(api(GET => 'users/more')->{json}{name}, 'more', 'and another one comes');
--- stream_response: 1


=== TEST 9: users are there after a reload
--- config eval: $::write
--- servers
echo echo
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
is(api(PUT => 'users/carol', { id => $Carol, quota => '1g' })->{status}, 201, 'one is made');
my $etag = api(GET => 'users/carol')->{header}{etag};
reload();
my $a = api(GET => 'users/carol');
is("$a->{header}{etag} $a->{json}{quota}", "$etag 1073741824", 'the same after it');
ok(ok_flow(uuid => $Carol), 'and is let in');
edit_conf(sub { s/alice $User{alice};/alice $User{alice}; carol $Carol;/ });
reload();
$a = api(GET => 'users/carol')->{json};
is("$a->{origin} $a->{used}", 'conf 10', 'defined in the file, with its counters');
like(refusal(DELETE => 'users/carol'), qr/^409 /, 'from where it is not removed');
edit_conf(sub { s/ carol $Carol;// });
reload();
is(api(GET => 'users/carol')->{status}, 404, 'with it, it goes');

# a worker that is to quit has a list to apply
my $body = JSON::PP->new->encode({ users => [map { { name => "u$_", id => "id$_" } } 1 .. 300] });
my $s = tcp(http_port());
put($s, "PUT /api/users HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
        . 'Content-Length: ' . length($body) . "\r\n\r\n");
is(read_n($s, 25), "HTTP/1.1 100 Continue\r\n\r\n", 'it waits for the list');
reload();
put($s, $body);
like(join('', <$s>), qr/^HTTP\/1.1 200 .*"added":300,/s, 'and does so before it goes');
--- stream_response: 1


=== TEST 10: what nginx -t says
--- config
location = /alive { return 200; }
--- stream_config
--- stream_client
my $users = 'vmess_users main:1m { alice %%ALICE%%; }';
for (
    ['', 'invalid number of arguments in "vmess_api"'],
    ['main write x', 'invalid number of arguments in "vmess_api"'],
    ['main rite', 'unknown parameter "rite" in "vmess_api", there is "write"'],
    ['other', 'unknown zone "other" in "vmess_api" in '],
    ["'main\0x'", 'zero byte in the arguments of "vmess_api"'],
    ['main; vmess_api main', '"vmess_api" directive is duplicate'],
) {
    my ($rc, $out) = nginx_t($users, main => "http { server { listen 127.0.0.1:1; location / { vmess_api $_->[0]; } } }");
    isnt($rc, 0, "vmess_api $_->[0]");
    like($out, qr/\[emerg\] .*\Q$_->[1]\E/, $_->[1]);
}
my ($rc, $out) = nginx_t($users, main => 'http { server { vmess_api main; } }');
like($out, qr/"vmess_api" directive is not allowed here/, 'only in a location');
($rc, $out) = nginx_t($users, main => 'http { server { listen 127.0.0.1:1; location / { vmess_api main write; '
                                      . 'if ($arg_x) { set $y 1; } location /x { return 404; } } } }');
is($rc, 0, 'what is right') or diag $out;
--- stream_response: 1


=== TEST 11: other ways of a request
--- config
location /api/ { vmess_api main write; if ($arg_x) { set $y 1; } }
location ~ ^/re { vmess_api main; }
location = /exact { vmess_api main; }
location /both/ { mirror /also; vmess_api main write; }
location = /also { internal; rewrite ^ /users/erin break; vmess_api other write; }
location /other/ { vmess_api other; }
location /users/ { client_max_body_size 1k; error_page 413 @api; return 413; }
location @api { vmess_api main write; }
--- http_config
server { listen 127.0.0.1:%%PORT_1%% http2; location /api/ { vmess_api main write; gzip on; gzip_types *; } }
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
vmess_users other:1m { alice %%ALICE%%; }
--- stream_client
use VMess::HTTP2;
is(api(GET => 'users/alice?x=1')->{json}{name}, 'alice', 'within "if"');
my $other = VMess::API->new(connect => sub { tcp(http_port()) }, base => '/');
is($other->request(GET => 're')->{status}, 404, 'a regular expression has no paths');
is($other->request(GET => 'exact')->{json}{zone}, 'main', 'an exact location has one');

my $c = VMess::HTTP2->new(tcp(stream_port() + 1));
my $r = $c->request('GET', '/api/users', end => 1);
like($r->rest, qr/"name":"alice".*\],"next":null\}$/, 'over HTTP/2');
$r = $c->request('PUT', '/api/users/carol', data => qq({"id":"$Carol"}), end => 1,
                 headers => ['content-type' => 'application/json']);
is($r->status, 201, 'a body over HTTP/2');
like($r->rest, qr/"name":"carol"/, 'and the answer');

# a chunked body, in pieces
my $s = tcp(http_port());
put($s, "PUT /api/users/dave HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n"
        . "Content-Type: application/json\r\n\r\n");
put($s, "1\r\n$_\r\n") for split //, qq({"id":"$Dave"});
put($s, "0\r\n\r\n");
like(join('', <$s>), qr{^HTTP/1\.1 201 }, 'a body in chunks');

# a body that two requests read
is(api(GET => 'users/erin')->{status}, 404, 'a user who is not there');
is($other->request(PUT => 'both/users/erin', { id => 'erin' })->{status}, 201, 'made in a zone');
is(wait_for(sub { $other->request(GET => 'other/users/erin')->{status} == 200 }), 1, 'and by a mirror in another one');

# and one that was thrown away
$s = tcp(http_port());
put($s, "PUT /users/erin HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\nContent-Type: application/json\r\n\r\n");
like(read_n($s, 12), qr{^HTTP/1\.1 413}, 'a body that is not read');

# nginx itself, or the client, ends a request at once
for my $path (qw(users users?sort=name users/alice stats)) {
    is($other->request(GET => "api/$path", undef, 'If-Unmodified-Since' => 'Thu, 01 Jan 1970 00:00:01 GMT')->{status},
       412, "$path: nginx has a condition");
    $s = tcp(http_port());
    put($s, "GET /api/$path HTTP/1.1\r\nHost: x\r\n\r\n" x 8);
    close $s;
}
is(names(api(GET => 'users?sort=name&name=a')), 'alice carol dave', 'and all goes on');
--- stream_response: 1


=== TEST 12: changes of one user at the same time
--- config eval: $::write
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
--- stream_client
my @fields = qw(max_conns max_ips quota rate rate_up rate_down hold);
is(api(PUT => 'users/carol', { id => $Carol })->{status}, 201, 'a user');
my $lost = 0;
for my $round (1 .. 20) {
    my @s = map { tcp(http_port()) } @fields;
    for my $i (0 .. $#fields) {
        my $body = qq({"$fields[$i]":) . (1000 * $round + $i) . '}';
        put($s[$i], "PATCH /api/users/carol HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                    . "Content-Type: application/json\r\nContent-Length: " . length($body) . "\r\n\r\n$body");
    }
    $lost += !grep { m{^HTTP/1.1 200 } } join '', readline $_ for @s;
    my $u = api(GET => 'users/carol')->{json};
    $lost += $u->{$fields[$_]} != 1000 * $round + $_ for 0 .. $#fields;
}
is($lost, 0, 'no change is lost');

# lists at the same time
sub send_list {
    my ($method, $users, $etag) = @_;
    my $body = JSON::PP->new->encode({ users => $users });
    my $s = tcp(http_port());
    put($s, "$method /api/users HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
            . ($etag ? "If-Match: $etag\r\n" : '') . 'Content-Length: ' . length($body) . "\r\n\r\n$body");
    return $s;
}
my $list = sub { [map { { name => "u$_", @_ } } 1 .. 200] };
my @users = map { { name => "u$_", id => "id$_" } } 1 .. 200;
is(api(PUT => 'users', { users => \@users })->{json}{added}, 200, 'users');
$lost = 0;
for my $round (1 .. 10) {
    my $etag = api(GET => 'users')->{header}{etag};
    my @s = map { my $n = 10 * $round + $_;
                  $round % 2 ? send_list(PATCH => $list->(max_conns => $n), $etag)
                             : send_list(PUT => [map { { %$_, max_conns => $n } } @users], $etag) } 1 .. 4;
    my @ok = grep { $_ } map { my $in = join '', readline $_; $in =~ m{^HTTP/1.1 200 } } @s;
    $lost++ if @ok != 1;
}
is($lost, 0, 'one of them is the first, and the only one');
for my $round (1 .. 10) {
    my @s = (send_list(PATCH => $list->(max_ips => $round)), map { send_list(PATCH => [{ name => "u$_", quota => $round }]) } 5, 105, 195);
    $lost += !grep { m{^HTTP/1.1 200 } } join '', readline $_ for @s;
    $lost += $_->{max_ips} != $round || $_->{name} =~ /^u(5|105|195)$/ && $_->{quota} != $round
        for @{ api(GET => 'users?origin=api')->{json}{users} };
}
is($lost, 0, 'of lists no change is lost');
--- stream_response: 1

=== TEST 13: workers are killed while they change users
--- config
location /api/ { vmess_api main write; client_max_body_size 10m; }
--- servers
echo echo
--- stream_config
vmess_users main:4m { alice %%ALICE%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- may_alert
--- stream_client
my $list = sub {
    my ($salt) = @_;
    return { users => [map { { name => "u$_", id => sprintf('%08x-0000-4000-8000-%012d', $salt + $_, $_),
                               max_conns => $salt } } 1 .. 1000] };
};
srand 1;
for my $round (1 .. 10) {
    my $body = JSON::PP->new->encode($list->(5000 * $round));
    my $s = tcp(http_port());
    put($s, "PUT /api/users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
            . length($body) . "\r\n\r\n$body");
    select undef, undef, undef, rand 0.03;
    my @old = children();
    kill 'KILL', @old;
    my %old = map { $_ => 1 } @old;
    wait_for(sub { 2 == grep { !$old{$_} } children() });
    my $all = api(GET => 'users?origin=api&fields=name,max_conns')->{json}{users};
    is(scalar(grep { $_->{max_conns} % 5000 } @$all), 0, 'users are whole');
    is(api(PUT => 'users', $list->(5000 * $round))->{status}, 200, 'the same list once more');
    $all = api(GET => 'users?origin=api&fields=max_conns')->{json}{users};
    is(scalar(grep { $_->{max_conns} == 5000 * $round } @$all), 1000, 'is what there is');
    is(scalar @$all, 1000, 'and nobody else');
}
ok(ok_flow(), 'and flows are let in');
--- stream_response: 1


=== TEST 14: what was read can be sent back: a default of the zone does not come in for "off"
--- config eval: $::write
--- stream_config
vmess_users main:1m { vmess_user_defaults rate=1m max_conns=1 max_ips=1 quota=1g quota_reset=day hold=1d
                                          expires=2040-01-31 rate_up=off;
                      alice %%ALICE%% quota=off; }
--- stream_client
my @off = (quota => 'off', quota_reset => 'never', rate => 'off', max_conns => 'off', max_ips => 'off',
           hold => 'off', expires => 'off');
my $shown = 'off never off off off off off';
my $limits = sub { join ' ', map { $_[0]{json}{$_} // 'null' }
                   qw(quota quota_reset rate max_conns max_ips hold expires) };

is(api(GET => 'users/alice')->{json}{quota}, 'off', 'a user of the configuration');
is($limits->(api(PUT => 'users/carol', { id => $Carol, @off })), $shown, 'limits that are off');
my $read = api(GET => 'users/carol')->{json};
is($limits->(api(PUT => 'users/carol', $read)), $shown, 'they are when sent back');
my $a = api(PUT => 'users', { users => [api(GET => 'users/carol')->{json}] });
is($a->{json}{unchanged}, 1, 'in a list as well');

$a = api(PATCH => 'users/carol', { rate => '2m', rate_down => 'off' });
is("@{ $a->{json} }{qw(rate rate_down)}", '2097152 off', 'one direction');
$a = api(PUT => 'users/carol', $a->{json});
is("@{ $a->{json} }{qw(rate rate_down)}", '2097152 off', 'when sent back');
$a = api(PATCH => 'users/carol', { map { $_ => undef } qw(rate rate_up rate_down quota) });
is("@{ $a->{json} }{qw(rate rate_up quota)}", '1048576 off 1073741824', 'null is the default');
--- stream_response: 1


=== TEST 15: requests that a reload overtakes
--- config eval: $::write
--- stream_config
vmess_users main:1m { vmess_user_defaults max_conns=3; alice %%ALICE%%; }
--- stream_client
my $begin = sub {
    my ($method, $path, $body) = @_;
    my $s = tcp(http_port());
    put($s, "$method /api/users$path HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    return [$s, "Content-Type: application/json\r\nContent-Length: " . length($body) . "\r\n\r\n$body"];
};
my $end = sub {
    my ($s, $rest) = @{ $_[0] };
    put($s, $rest);
    my $answer = slurp($s);
    return join ' ', $answer =~ m{^HTTP/1.1 (\d+)}, $answer =~ /"code":"(\w+)"/;
};
my $user = sub { sprintf '{"name":"%s","id":"%s"}', @_ };

my @r = ($begin->(PUT => '/carol', $user->('carol', $Carol)),
         $begin->(PATCH => '', '{"users":[' . $user->('dave', $Dave) . ']}'));
wait_taken(http_port());
edit_conf(sub { s/max_conns=3/max_conns=7/ });
reload();
undef $api;
is($end->($_), $_ == $r[0] ? '201' : '200', 'answered by an old worker') for @r;
is(api(GET => "users/$_")->{json}{max_conns}, 7, "$_ has the new defaults") for qw(carol dave);

@r = ($begin->(PUT => '/erin', $user->('erin', $User{mallory})),
      $begin->(PATCH => '', '{"users":[' . $user->('erin', $User{mallory}) . ']}'),
      $begin->(PUT => '', '{"users":[]}'),
      $begin->(DELETE => '/dave', ''));
wait_taken(http_port());
edit_conf(sub { s/main:1m/main:2m/ });
reload();
undef $api;
is($end->($_), '503 Reloaded', 'refused: the change would be lost') for @r;
is(names(api(GET => 'users?sort=name')), 'alice carol dave', 'nothing has changed');
is($end->($begin->(DELETE => '/dave', '')), '204', 'it is made by the next one');
--- stream_response: 1


=== TEST 16: tokens
--- config
location /api/ { vmess_api main write; }
--- stream_config
vmess_users main:1m { alice %%ALICE%%; bob %%BOB%% token=0123456789abcdef; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $token = sub { api(GET => "users/$_[0]")->{json}{token} };
like($token->('alice'), qr/^[\w-]{22}$/, 'one of the id');
is($token->('bob'), '0123456789abcdef', 'one of the file');
like(refusal(POST => 'users/alice/token'), qr/^409 : user "alice" is defined in \S+:\d+, change it there/, 'it is changed there');
is(api(POST => 'users/nobody/token')->{status}, 404, 'nobody');

my $a = api(PUT => 'users/carol', { id => $Carol });
my $first = $a->{json}{token};
isnt($first, $token->('alice'), 'another id, another one');
my $stamp = $a->{header}{etag};
$a = api(PUT => 'users/carol', $a->{json});
is("$a->{header}{etag} $a->{json}{token}", "$stamp $first", 'what was read is sent back: nothing changes');

is(api(PATCH => 'users/carol', { id => $Dave })->{status}, 200, 'another id');
isnt($token->('carol'), $first, 'and another token');
is(api(PUT => 'users/carol', { id => $Carol })->{json}{token}, $first, 'the id again');

$a = api(POST => 'users/carol/token');
my $new = $a->{json}{token};
is($a->{status}, 200, 'a new one');
like($new, qr/^[\w-]{22}$/, 'which looks alike');
isnt($new, $first, 'and is another one');
isnt(api(POST => 'users/carol/token')->{json}{token}, $new, 'each time');
$new = $token->('carol');
is(api(PUT => 'users/carol', { id => $Dave })->{json}{token}, $new, 'it stays if a body has none');
is(api(PUT => 'users', { users => [{ name => 'carol', id => $Carol }] })->{json}{changed}, 1, 'a list');
is($token->('carol'), $new, 'as well');
is(api(PATCH => 'users/carol', { token => 'x' x 47 })->{json}{token}, 'x' x 47, 'one that is given');
is(api(PATCH => 'users/carol', { token => undef })->{json}{token}, $first, 'null is that of the id');

# no two users have the same one
my %with = (id => $Dave, token => $first);
like(refusal(PUT => 'users/dave', \%with), qr/^409 token: the token of user "dave" is that of user "carol", give each one/, 'that of another one');
like(refusal(PUT => 'users/dave', { %with, token => '0123456789abcdef' }), qr/^409 token: .* is that of user "bob"/, 'or of the file');
like(refusal(PATCH => 'users', { users => [{ name => 'dave', %with }] }), qr/^409 token: users\[0\]: the token of user "dave" is that of user "carol"/, 'a list');
my @two = ({ name => 'carol', id => $Carol, token => 'a' x 16 }, { name => 'dave', id => $Dave, token => 'a' x 16 });
like(refusal(PUT => 'users', { users => \@two }), qr/^422 token: users\[1\]: the token of user "dave" is there twice/, 'twice in a list');
$two[1]{token} = 'b' x 16;
is(api(PUT => 'users', { users => \@two })->{json}{added}, 1, 'two users');
like(refusal(PUT => 'users/erin', { id => $Carol }), qr/^409 id: /, 'an id comes first');
is(api(PATCH => 'users/carol', { id => 'd4c1a9a0-7b58-4b7e-8f43-0a9e5d2c6b17', token => $first })->{status}, 200, 'one of an id of before');
like(refusal(PUT => 'users/erin', { id => $Carol }), qr/^409 token: .* is that of user "carol"/, 'which is not for the next one');
is(api(PUT => 'users', { users => \@two })->{json}{changed}, 1, 'as it was');
@two[0, 1] = map { { %{ $two[$_] }, token => $two[1 - $_]{token} } } 0, 1;
is(api(PUT => 'users', { users => \@two })->{json}{changed}, 2, 'a list moves them');
is(join(' ', map { $token->($_) } qw(carol dave)), 'b' x 16 . ' ' . 'a' x 16, 'to each other');
like(refusal(PUT => 'users', { users => [$two[1], { name => 'erin', id => $Carol, token => '0123456789abcdef' }] }),
     qr/^409 token: users\[1\]: .* "erin" is that of user "bob"/, 'but not from the file');
is(names(api(GET => 'users?sort=name')), 'alice bob carol dave', 'nothing has changed then');
is(api(PUT => 'users', { users => [$two[1], { %{ $two[0] }, name => 'erin' }] })->{json}{removed}, 1, 'who takes the place of another one');
is($token->('erin'), 'b' x 16, 'may have its token');
--- stream_response: 1


=== TEST 17: a user of the file does not get the id of one made at run time
--- config eval: $::write
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
--- stream_client
api(PUT => 'users/carol', { id => $Carol });

my $refused = qr/user "dave" .* has the id of user "carol", who was made at run time/;
edit_conf(sub { s/alice $User{alice};/alice $User{alice}; dave $Carol;/ });
signal_nginx('HUP');
ok(wait_log($refused), 'a reload is refused');

edit_conf(sub { s/main:1m/main:2m/ });
signal_nginx('HUP');
ok(wait_log($refused, 2), 'with another size as well');
is(names(api(GET => 'users?sort=name')), 'alice carol', 'nothing has changed');
--- stream_response: 1
--- may_alert


=== TEST 18: a worker dies amid a removal: flows end at the other one, though nobody changes users again
--- listen: reuseport
--- config eval: $::write
--- servers
echo echo
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- may_alert
--- stream_client
SKIP: {
    api(PUT => 'users/carol', { id => $Carol });
    my @f = map { flow(uuid => $Carol, to => 'echo', data => 'hello') } 1 .. 16;
    is(join('', map { $_->read(5) } @f), 'hello' x @f, 'flows at both workers');

    # an instruction that there is not, where slots of who has gone are freed

    my %was;
    for my $pid (children()) {
        my $maps = TestVMess::file_text("/proc/$pid/maps");
        my ($from, $file) = map { $maps =~ m{^(\w+)-\w+ \S+ 0+ .* (/.*/$_)$}m } 'ngx_vmess_module.so', 'nginx';
        my ($at) = map { /^(\w+) T ngx_vmess_slot_free$/ ? hex $1 : () } `nm $file`;
        open my $mem, '+<:raw', "/proc/$pid/mem" or skip "memory of nginx: $!", 1;
        sysseek $mem, $at += hex $from, 0 or die $!;
        sysread $mem, $was{$pid}, 4 or skip "memory of nginx: $!", 1;
        sysseek $mem, $at, 0;
        syswrite $mem, "\xff" x 4 or skip "memory of nginx: $!", 1;
        $was{$pid} = [$mem, $at, $was{$pid}];
    }

    my $s = tcp(http_port());
    put($s, "DELETE /api/users/carol HTTP/1.1\r\nHost: x\r\n\r\n");
    is(slurp($s), '', 'there is no answer');
    is(wait_log(qr/exited on signal/), 1, 'a worker has died');

    for my $pid (grep { $was{$_} } children()) {
        my ($mem, $at, $bytes) = @{ $was{$pid} };
        sysseek $mem, $at, 0;
        syswrite $mem, $bytes;
    }

    $_->read_eof for @f;
    is(scalar(grep { !$_->{eof} && !$_->{error} } @f), 0, 'all flows are over');
    cmp_ok(log_count(qr/flow of user "carol", who .* is closed/), '>', 0, 'some at the other worker');
}
undef $api;
is(api(GET => 'users/carol')->{status}, 404, 'the user has gone');
--- stream_response: 1


=== TEST 19: an id that is given away while a reload is under way
--- config eval: $::write
--- http_config
#listen
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
--- stream_client
edit_conf(sub { s/alice $User{alice};/alice $User{alice}; dave $Carol;/;
                s/#listen/"server { listen 127.0.0.1:" . (stream_port() + 1) . "; }"/e });

# nginx tries to bind for two seconds, when users have been looked at

my $done = qr/the id of user "carol", who was made at run time, went to user "dave"/;

for (1 .. 5) {
    my $taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => stream_port() + 1,
                                      Listen => 1, ReuseAddr => 1)
        or die "cannot listen: $!";
    my $failed = qr/bind\(\) to \S+ failed/;
    my $n = log_count($failed);
    signal_nginx('HUP');
    wait_log($failed, $n + 1);
    is(api(PUT => 'users/carol', { id => $Carol })->{status}, 201, 'a user is made');
    $taken->close;

    my $bound = qr/still could not bind/;
    $n = log_count($bound);
    wait_for(sub { log_count($done) || log_count($bound) > $n
                   || api(GET => 'users/dave')->{status} == 200 });
    last if log_count($bound) == $n;
    api(DELETE => 'users/carol');
}

ok(wait_log($done), 'the log says who went');
is(names(api(GET => 'users?sort=name')), 'alice dave', 'the file counts');
--- stream_response: 1
--- may_alert
