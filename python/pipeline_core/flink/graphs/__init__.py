"""What needs PyFlink."""
