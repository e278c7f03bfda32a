"""What the JVM calls: functions for Spark's Python workers, and the process that fits beside a JVM's driver."""
