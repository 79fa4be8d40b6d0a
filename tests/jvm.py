"""Options of every JVM that a test starts."""

#: It lives for minutes: to verify its classes, and to compile its code twice, the second time thoroughly, would cost most of them.
#: Its first collections of classes would stop it eight times before it has loaded them.
#: With one compiler the room for compiled code is 48 MB by default; Spark fills it, and what is thrown out is compiled again.
JVM_OPTIONS = (
    "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:MetaspaceSize=400m -XX:+UseSerialGC "
    "-XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
)

#: A driver takes no more than a megabyte of results: a job that brings there what grows with the series fails in any test.
DRIVER_OPTIONS = f"{JVM_OPTIONS} -Dspark.driver.maxResultSize=1m"
