"""Decorators of TaskFlow: functions that return what an operator writes."""
