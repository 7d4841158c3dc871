package VMess::API;

# A client of vmess_api.  Each answer is checked against the OpenAPI document of
# the server: path, method, status and the schema of the body; what is wrong is
# in problems().
#
#   my $api = VMess::API->new(connect => sub { tcp(...) }, base => '/api/');
#   my $a = $api->call(PUT => 'users/bob', { id => '...' }, 'If-Match' => $etag);
#   $a->{status}, $a->{json}, $a->{text}, $a->{header}{etag}

use v5.20;
use strict;
use warnings;

use JSON::PP ();
use Test::More ();

my $json = JSON::PP->new->utf8->canonical->allow_nonref;


sub new {
    my ($class, %o) = @_;
    return bless { base => '/api/', problems => [], %o }, $class;
}


sub problems { return @{ $_[0]{problems} } }


# a body is encoded unless it is text; headers follow

sub call {
    my ($self, $method, $path, $body, %headers) = @_;

    $self->{doc} //= $self->request(GET => 'openapi.json')->{json}
        // die "no document\n";

    my $a = $self->request($method, $path, $body, %headers);
    push @{ $self->{problems} }, map { "$method $path: $_" }
                                     $self->check($method, $path, $a);

    return $a;
}


# the same, and the test fails if the answer is not as the document says

sub checked {
    my ($self, $method, $path, @o) = @_;

    my $a = $self->call($method, $path, @o);
    my @bad = splice @{ $self->{problems} };

    local $Test::Builder::Level = $Test::Builder::Level + 2;
    Test::More::is("@bad", '', "$method $path is as the document says") if @bad;

    return $a;
}


sub request {
    my ($self, $method, $path, $body, %headers) = @_;

    my $s = $self->{connect}->();

    if (defined $body) {
        $body = $json->encode($body) if ref $body;
        $headers{'Content-Length'} //= length $body;
        $headers{'Content-Type'} //= 'application/json';
    }

    my $request = "$method $self->{base}$path HTTP/1.1\r\nHost: localhost\r\n"
        . "Connection: close\r\n"
        . join('', map { "$_: $headers{$_}\r\n" }
                   grep { length $headers{$_} } sort keys %headers)
        . "\r\n" . ($body // '');

    local $SIG{PIPE} = 'IGNORE';
    my $sent = 0;

    while ($sent < length $request) {
        my $n = syswrite $s, $request, length($request) - $sent, $sent;
        last if !$n;
        $sent += $n;
    }

    my $in = '';
    while (sysread $s, $in, 1 << 16, length $in) { }

    return $self->parse($method, $in);
}


sub parse {
    my ($self, $method, $in) = @_;

    my ($head, $text) = split /\r\n\r\n/, $in, 2;
    my %header = map { /^([^:]+): *(.*)$/ ? (lc($1), $2) : () }
                 split /\r\n/, $head // '';
    my ($status) = ($head // '') =~ m{^HTTP/1\.1 (\d+)};

    $text //= '';

    if (($header{'transfer-encoding'} // '') eq 'chunked') {
        my $all = '';
        while ($text =~ s/^([0-9a-f]+)\r\n//i && hex $1) {
            $all .= substr $text, 0, hex $1, '';
            $text =~ s/^\r\n//;
        }
        $text = $all;
    }

    my $data = ($header{'content-type'} // '') eq 'application/json'
               && length $text ? eval { $json->decode($text) } : undef;

    return { status => $status // 0, header => \%header, text => $text,
             json => $data, method => $method };
}


# what the document does not say of an answer

sub check {
    my ($self, $method, $path, $a) = @_;

    my $template = '/' . $path =~ s/\?.*//sr;
    $template =~ s{^/users/.+?(/flows|/kick|/links|/reset|/token|)$}{/users/{name}$1};

    my $item = $self->{doc}{paths}{$template};
    return $a->{status} == 404 ? $self->error($a) : 'an unknown path' if !$item;

    my $op = $item->{ lc($method eq 'HEAD' ? 'GET' : $method) };
    return $a->{status} == 405 ? $self->error($a) : 'an unknown method' if !$op;
    return $self->error($a) if $a->{status} == 405;

    my $response = $op->{responses}{ $a->{status} }
        or return "status $a->{status} is not in the document";

    my @bad = map { "no header $_" }
              grep { !defined $a->{header}{lc()} }
              keys %{ $response->{headers} // {} };

    return @bad if $method eq 'HEAD';

    my $content = $response->{content}{'application/json'};

    if (!$content) {
        return @bad, $a->{status} != 413 && length $a->{text}
                     ? 'a body where there should be none' : ();
    }

    return @bad, 'no JSON' if !defined $a->{json};
    return @bad, $self->validate($content->{schema}, $a->{json}, 'body');
}


sub error {
    my ($self, $a) = @_;
    return if $a->{method} eq 'HEAD';
    return $self->validate({ '$ref' => '#/components/schemas/Error' },
                           $a->{json}, 'error');
}


# JSON Schema, as far as the document uses it

sub validate {
    my ($self, $schema, $value, $where) = @_;

    if (my $ref = $schema->{'$ref'}) {
        my $to = $self->{doc};
        $to = $to->{$_} for grep { $_ ne '#' } split m{/}, $ref;
        return $self->validate($to, $value, $where);
    }

    my $type = type_of($value);

    if (my $types = $schema->{type}) {
        my %ok = map { $_ => 1 } ref $types ? @$types : $types;
        return "$where is $type" if !$ok{$type};
    }

    if (my $enum = $schema->{enum}) {
        return "$where is $value" if !grep { $_ eq $value } @$enum;
    }

    if ($type eq 'integer') {
        return "$where is $value"
            if defined $schema->{minimum} && $value < $schema->{minimum}
               || defined $schema->{maximum} && $value > $schema->{maximum};
    }

    if ($type eq 'string') {
        return "$where is as long as that"
            if length $value < ($schema->{minLength} // 0)
               || length $value > ($schema->{maxLength} // length $value);
        return "$where is $value"
            if defined $schema->{pattern} && $value !~ /$schema->{pattern}/;
        return "$where is no time"
            if ($schema->{format} // '') eq 'date-time'
               && $value !~ /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
    }

    if ($type eq 'array' && $schema->{items}) {
        return map { $self->validate($schema->{items}, $value->[$_],
                                     "$where\[$_]") } 0 .. $#$value;
    }

    return if $type ne 'object';

    my $properties = $schema->{properties} // {};
    my $other = $schema->{additionalProperties} // {};
    my @bad = map { "$where lacks $_" }
              grep { !exists $value->{$_} } @{ $schema->{required} // [] };

    for my $key (sort keys %$value) {
        my $s = $properties->{$key} // $other;
        push @bad, ref $s eq 'HASH'
                   ? $self->validate($s, $value->{$key}, "$where.$key")
                   : "$where has $key";
    }

    return @bad;
}


sub type_of {
    my ($value) = @_;

    return 'null' if !defined $value;
    return 'boolean' if JSON::PP::is_bool($value);
    return 'object' if ref $value eq 'HASH';
    return 'array' if ref $value eq 'ARRAY';

    # a number of JSON::PP has no flag of a string

    my $flags = B::svref_2object(\$value)->FLAGS;
    return 'string' if $flags & B::SVf_POK();
    return $value =~ /^-?\d+$/ ? 'integer' : 'number';
}

use B ();

1;
