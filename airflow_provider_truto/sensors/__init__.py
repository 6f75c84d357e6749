"""Sensors: tasks that wait for something in Truto, or in a customer's CRM."""
